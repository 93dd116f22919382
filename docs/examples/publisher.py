# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

"""Publishes to channels: Publisher('https://www.example.org/channels').publish('news', {'text': 'hi'})."""

import json
import urllib.error
import urllib.parse
import urllib.request


class Publisher:
    def __init__(self, url, headers=None, timeout=15):
        self.url, self.headers, self.timeout = url, headers or {}, timeout

    def publish(self, channel, data):
        """Sends a str as text, bytes as bytes, and any other value as JSON. Returns the channel, the receivers, and, if the channel
        has a history, the position."""
        kind = {str: 'text/plain; charset=utf-8', bytes: 'application/octet-stream'}.get(type(data), 'application/json')
        body = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
        request = urllib.request.Request(self.url + '?' + urllib.parse.urlencode({'channel': channel}), body,
                                         {**self.headers, 'Content-Type': kind})
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                published = json.load(answer)['published'][0]
        except urllib.error.HTTPError as refusal:
            raise RuntimeError(self.words(refusal)) from None
        if 'error' in published:
            raise RuntimeError(published['error'])
        return published

    @staticmethod
    def words(refusal):
        try:
            answer = json.load(refusal)
            return answer.get('error') or answer['published'][0]['error']
        except (ValueError, LookupError):
            return f'HTTP {refusal.code}'
