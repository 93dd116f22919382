// Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0

// How many milliseconds an event is waited for: as t/lib/Patience.pm says.

'use strict';

module.exports = 1000 * (process.env.WS_TEST_DEADLINE || 60);
