<?php
// A chat room: each message goes to all clients. Only the server itself may request this page.
if (!isset($_SERVER['WEBSOCKET'])) {
    http_response_code(403);
    exit('This page is for WebSockets.');
}
$name = $_SERVER['REMOTE_USER'] ?? 'guest-' . substr($_POST['id'], 0, 4);

switch ($_POST['event']) {
case 'open':
    header('WebSocket-Subscribe: room');
    header('WebSocket-Publish: room');
    echo "$name has come";
    break;
case 'message':
    header('WebSocket-Publish: room');
    header('WebSocket-Framing: line');
    foreach ($_POST['data'] as $i => $text) {
        if ($_POST['type'][$i] == 'text') {
            echo "$name: ", strtr($text, "\r\n", '  '), "\n";
        }
    }
    break;
case 'close':
    header('WebSocket-Publish: room');
    echo "$name has gone";
}
