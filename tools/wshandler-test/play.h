/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Plays a transcript to a handler. */

#ifndef WS_TOOLS_PLAY_H
#define WS_TOOLS_PLAY_H

#include "tools/wshandler-test/transcript.h"

/** The numbers of checks in all transcripts. */
typedef struct ws_checks {
    int run, failed;
} ws_checks;

/**
 * Load the handler, play the transcript, and print a TAP line for each expectation.
 * @param keys  char *, key=value; keys that precede those of the transcript
 * @return NULL, or the reason why the transcript could not be played
 */
const char *ws_play(ws_checks *checks, const ws_transcript *t, const char *handler,
                    const apr_array_header_t *keys, apr_pool_t *pool);

#endif
