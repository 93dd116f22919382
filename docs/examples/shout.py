#!/usr/bin/python3
# Each message comes back in capital letters; "bye" ends the connection. It counts them in the state.
import os, sys
from urllib.parse import parse_qs

if 'WEBSOCKET' not in os.environ:
    sys.exit('for WebSockets only')
body = sys.stdin.read(int(os.environ['CONTENT_LENGTH']))
field = parse_qs(body, keep_blank_values=True, max_num_fields=1000)
said = [text.replace('\r', ' ').replace('\n', ' ') for text in field.get('data[]', [])]
count = int(field['state'][0] or 0)

sys.stdout.reconfigure(encoding='utf-8')
print('Content-Type: text/plain; charset=utf-8')
print('WebSocket-State:', count + len(said))
if 'bye' in said:
    print('WebSocket-Close: 1000', count, 'messages before')
print('WebSocket-Framing: line\n')
for text in said:
    print(text.upper())
