# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

# Makes tokens with PyJWT. Each line of the input is [algorithm, key file, claims, header], and each line of the output is a
# token.

import json
import sys

import jwt

for line in sys.stdin:
    algorithm, file, claims, header = json.loads(line)
    with open(file, 'rb') as key:
        secret = key.read().rstrip(b'\n') if algorithm.startswith('HS') else key.read()
    print(jwt.encode(claims, secret, algorithm=algorithm, headers=header), flush=True)
