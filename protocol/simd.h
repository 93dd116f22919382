/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * Processor detection for masking and UTF-8 validation. When the module is loaded, both select the
 * fastest implementation that the processor supports.
 */

#ifndef WS_PROTOCOL_SIMD_H
#define WS_PROTOCOL_SIMD_H

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define WS_X86 1
#define WS_PROCESSOR_HAS(NAME) (__builtin_cpu_init(), __builtin_cpu_supports(NAME))
#elif defined(__aarch64__)
#include <arm_neon.h>
#define WS_NEON 1
#endif

/** Compile one function for an instruction set that the build flags do not enable. Call the
 *  function only if the processor supports that set. */
#define WS_TARGET(NAME) __attribute__((target(NAME)))

/**
 * Select implementation n: 0 is the portable one, the last one is the default. For tests; not safe
 * while another thread masks or validates.
 * @return its name; NULL: this processor has no implementation n, and the selection is
 *         unchanged
 */
const char *ws_mask_use(int n);
const char *ws_utf8_use(int n);

#endif
