/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** A transcript played to a handler. */

#ifndef WS_TOOLS_PLAY_H
#define WS_TOOLS_PLAY_H

#include "tools/wshandler-test/transcript.h"

/** Checks so far, of all transcripts. */
typedef struct ws_checks {
    int run, failed;
} ws_checks;

/**
 * Load the handler, play the transcript, print a line of TAP for each thing that is expected.
 * @param keys  char *: key=value, before those of the transcript
 * @return NULL, or why it could not be played
 */
const char *ws_play(ws_checks *checks, const ws_transcript *t, const char *handler,
                    const apr_array_header_t *keys, apr_pool_t *pool);

#endif
