/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * What masking and UTF-8 validation have in common: each has several ways to do its work, of which
 * the best that the processor knows is chosen when the program or module is loaded.
 */

#ifndef WS_PROTOCOL_VECTORS_H
#define WS_PROTOCOL_VECTORS_H

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define WS_X86 1
#define WS_PROCESSOR_HAS(NAME) (__builtin_cpu_init(), __builtin_cpu_supports(NAME))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define WS_NEON 1
#endif

/** Compile one function for more than the flags allow; it may only be called if the processor can. */
#define WS_TARGET(NAME) __attribute__((target(NAME)))

/**
 * Take way n from now on: 0 is the plainest, the last one the choice at load time. Tests try each;
 * not while another thread masks or validates.
 * @return its name, or NULL, with nothing changed, if there are no more than n on this processor
 */
const char *ws_mask_use(int n);
const char *ws_utf8_use(int n);

#endif
