#!/usr/bin/python3
# The chat as a CGI script in Python.
import os, sys
from urllib.parse import parse_qs

def answer(*headers, body=''):
    sys.stdout.reconfigure(encoding='utf-8')
    print('Content-Type: text/plain; charset=utf-8', *headers, '', body, sep='\n', end='')
    sys.exit()

if 'WEBSOCKET' not in os.environ:
    answer('Status: 403', body='This page is for WebSockets.')
body = sys.stdin.read(int(os.environ['CONTENT_LENGTH']))
field = parse_qs(body, keep_blank_values=True, max_num_fields=1000)
name = os.environ.get('REMOTE_USER') or 'guest-' + field['id'][0][:4]
event = field['event'][0]

if event == 'open':
    answer('WebSocket-Subscribe: room', 'WebSocket-Publish: room', body=f'{name} has come')
if event == 'close':
    answer('WebSocket-Publish: room', body=f'{name} has gone')
lines = [f'{name}: ' + ' '.join(text.splitlines()) + '\n'
         for text, kind in zip(field['data[]'], field['type[]']) if kind == 'text']
answer('WebSocket-Publish: room', 'WebSocket-Framing: line', body=''.join(lines))
