<?php
// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

/** Publishes to channels: (new Publisher('https://www.example.org/channels'))->publish('news', ['text' => 'hi']). */
final class Publisher
{
    public function __construct(private string $url, private array $headers = [], private float $timeout = 15)
    {
    }

    /** Sends a string as text, and any other value as JSON. Returns `receivers`, and `position` if the channel has a history. */
    public function publish(string $channel, mixed $data): array
    {
        $text = is_string($data);
        $type = $text ? 'text/plain; charset=utf-8' : 'application/json';
        $context = stream_context_create(['http' => [
            'method' => 'POST', 'content' => $text ? $data : json_encode($data, JSON_THROW_ON_ERROR),
            'header' => [...$this->headers, "Content-Type: $type"],
            'timeout' => $this->timeout, 'ignore_errors' => true,
        ]]);
        $body = @file_get_contents($this->url . '?' . http_build_query(['channel' => $channel]), false, $context);
        $answer = $body === false ? null : json_decode($body, true);
        $error = $answer['error'] ?? $answer['published'][0]['error'] ?? null;
        if ($error !== null || !isset($answer['published'][0])) {
            throw new RuntimeException($error ?? $http_response_header[0] ?? "no answer from $this->url");
        }
        return $answer['published'][0];
    }
}
