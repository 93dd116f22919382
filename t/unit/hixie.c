/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests versions 76 and 75: the keys and the answer to them, parsing frames and writing frames.
 *  Section numbers refer to hybi-00. */

#include "protocol/hixie.h"

#define STREAM_PARSER ws_hixie
#define STREAM_NEXT ws_hixie_next
#define STREAM_EMPTY_END 1
#include "t/unit/random.h"
#include "t/unit/stream.h"

#define ALL_LAST (WS_MESSAGE_FIRST | WS_MESSAGE_LAST | WS_FRAME_LAST)

/* ---- Keys ---- */

static void answered(const char *key1, const char *key2, const char *key3, const char *expected,
                     const char *name)
{
    unsigned char numbers[WS_HIXIE_NUMBERS], answer[WS_HIXIE_ANSWER];
    is_str(ws_hixie_numbers(key1, key2, numbers), NULL, "%s: the keys are numbers", name);
    ws_hixie_answer(numbers, (const unsigned char *)key3, answer);
    is_mem(answer, sizeof(answer), expected, 16, "%s: the answer", name);
}

static void keys(void)
{
    unsigned char n[WS_HIXIE_NUMBERS];
    answered("4 @1  46546xW%0l 1 5", "12998 5 Y3 1  .P00", "^n:ds[4U", "8jKS'y:G*Co,Wxa-",
             "the example of section 1.3");
    answered("18x 6]8vM;54 *(5:  {   U1]8  z [  8", "1_ tx7X d  <  nw  334J702) 7]o}` 0",
             "Tm[K T2u", "fQJ,fN/4F4!~K~MH", "the example of section 5.2");
    ws_hixie_numbers("18x 6]8vM;54 *(5:  {   U1]8  z [  8", "1_ tx7X d  <  nw  334J702) 7]o}` 0",
                     n);
    is_mem(n, 8, "\x09\x47\xfa\x63\x0a\x55\x10\xd3", 8,
           "the keys of section 5.2 are 155712099 and 173347027");
    is_str(ws_hixie_numbers("4294967295 ", " 0", n), NULL,
           "the largest and the smallest number are keys");
    is_mem(n, 8, "\xff\xff\xff\xff\0\0\0\0", 8, "the largest and the smallest number are written");
}

static void keys_that_are_wrong(void)
{
    static const struct {
        const char *key, *name;
    } rows[] = {{NULL, "no key"},
                {"", "an empty key"},
                {"12", "a key without spaces"},
                {"1 2 3", "a number with a remainder"},
                {"4294967296 ", "a number of more than 32 bits"},
                {"99999999999999999999999999 ", "a number of more than 64 bits"}};
    unsigned char n[WS_HIXIE_NUMBERS];
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        is_str(ws_hixie_numbers(rows[i].key, "1 ", n),
               "Sec-WebSocket-Key1 does not encode a number", "Sec-WebSocket-Key1 is %s",
               rows[i].name);
        is_str(ws_hixie_numbers("1 ", rows[i].key, n),
               "Sec-WebSocket-Key2 does not encode a number", "Sec-WebSocket-Key2 is %s",
               rows[i].name);
    }
}

/* ---- Parsing frames ---- */

static void setup(uint64_t max)
{
    fresh = (ws_hixie){.base.max = max};
}

static void texts(void)
{
    setup(100);
    RAW("\x00Hello\xff");
    is_taken_as("text \"Hello\".", "a text");
    RAW("\x00\xff");
    is_taken_as("text \"\".", "an empty text");
    RAW("\x00one\xff\x00\xff\x00three\xff");
    is_taken_as("text \"one\". text \"\". text \"three\".", "three texts");
    RAW("\x00"
        "a\x00\x01\x7f\x80\xfe\xff");
    is_taken_as("text \"a\\00\\01\\7f\\80\\fe\".", "all bytes but 0xFF are content");
    RAW("\x00to be co");
    is_taken_as("text \"to be co\"...", "an incomplete text");
}

static void closing(void)
{
    setup(100);
    RAW("\xff\x00");
    is_taken_as("close \"\".", "the closing handshake");
    RAW("\x00last\xff\xff\x00\x00more\xff");
    is_taken_as("text \"last\". close \"\". text \"more\".",
                "the closing handshake after a text, after which the parser continues");
    RAW("\xff\x80\x80\x00");
    is_taken_as("close \"\".", "the closing handshake with a longer form of the length 0");
}

static void what_is_skipped(void)
{
    setup(20000);
    RAW("\x80\x05.....\x00one\xff");
    is_taken_as("text \"one\".", "a frame with a length");
    RAW("\x80\x00\x80\x80\x00\x00one\xff");
    is_taken_as("text \"one\".", "frames of length 0");
    RAW("\xfe\x03\xff\x00\xff\x00one\xff");
    is_taken_as("text \"one\".", "the content of a frame with a length is skipped");
    RAW("\xff\x02\xff\x00\x00one\xff");
    is_taken_as("text \"one\".", "0xFF with a length that is not 0");
    RAW("\x81\x82\x2c"); /* 2 * 128 + 44 */
    memset(in + in_len, 0xFF, 300);
    in_len += 300;
    RAW("\x00one\xff");
    is_taken_as("text \"one\".", "a length of two bytes");
    RAW("\x01not a text\xff\x7f\x00\x00\xff\x00one\xff");
    is_taken_as("text \"one\".", "frames of other types without a length");
    RAW("\x90\x85");
    is_taken_as("", "an incomplete length");
}

static void limits(void)
{
    setup(5);
    RAW("\x00"
        "12345\xff\x00"
        "54321\xff");
    is_taken_as("text \"12345\". text \"54321\".", "texts as long as the limit");
    RAW("\x00"
        "12345\xff\x00"
        "123456\xff\x00\xff");
    is_taken_as("text \"12345\". 1009: message is too big",
                "a text longer than the limit is refused");
    RAW("\x00"
        "123456");
    is_taken_as("1009: message is too big",
                "a text longer than the limit is refused before its end");
    RAW("\x01"
        "123456");
    is_taken_as("1009: frame is too big",
                "a frame of another type longer than the limit is refused");
    RAW("\x80\x05"
        "12345\x80\x06");
    is_taken_as("1009: frame is too big",
                "a skipped frame is refused as soon as its length is known");
    RAW("\x80\xff\x80");
    is_taken_as("1009: frame is too big",
                "a skipped frame is refused as soon as a part of its length is too large");
    RAW("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01");
    is_taken_as("1002: frame length has too many bytes", "a length that does not end");
    setup(INT64_MAX);
    RAW("\x80\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00x\xff");
    is_taken_as("", "the longest length");
    RAW("\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00");
    is_taken_as("1002: frame length has too many bytes", "a length with one byte more is refused");
}

static void between_frames(void)
{
    static const char stream[] = "\x00hi\xff\x80\x02..\x01x\xff\xff\x00";
    static const char between[] = "000010001001010";
    size_t wrong = 0;
    for (size_t n = 0; n < sizeof(stream); n++) {
        ws_hixie p = {.base.max = 100};
        unsigned char *data = fenced_end(n);
        size_t len = n;
        ws_piece piece;
        ws_parse_error error;
        memcpy(data, stream, n);
        while (len > 0 && ws_hixie_next(&p, &data, &len, &piece, &error) != WS_PARSE_FAIL) {
        }
        wrong += n > 0 && ws_hixie_between(&p) != between[n] - '0';
    }
    is_int((long long)wrong, 0,
           "the parser distinguishes an end inside a frame from an end between frames");
}

/* ---- Writing frames ---- */

static void written(unsigned first, const char *text, size_t len, const char *frame, size_t size,
                    const char *name)
{
    size_t max = ws_hixie_frame_max(text, len);
    unsigned char *out = fenced_end(max);
    is_mem(out, ws_hixie_frame(out, first, text, len), frame, size, "%s", name);
}

#define WRITTEN(FIRST, TEXT, FRAME, NAME)                                                          \
    written(FIRST, TEXT, sizeof(TEXT) - 1, FRAME, sizeof(FRAME) - 1, NAME)

static void frames_out(void)
{
    WRITTEN(FIN | TEXT, "Hello", "\x00Hello\xff", "a text");
    WRITTEN(FIN | TEXT, "", "\x00\xff", "an empty text");
    WRITTEN(TEXT, "Hel", "\x00Hel", "the beginning of a text");
    WRITTEN(CONT, "lo, ", "lo, ", "the middle of a text");
    WRITTEN(FIN | CONT, "you", "you\xff", "the end of a text");
    WRITTEN(FIN | CONT, "", "\xff", "an empty end");
    WRITTEN(FIN | TEXT, "\xff", "\x00\xef\xbf\xbd\xff", "a byte 0xFF in a text is replaced");
    WRITTEN(FIN | TEXT, "a\xff\xff\xff",
            "\x00"
            "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xff",
            "several");
    WRITTEN(FIN | TEXT, "\xff\x00z", "\x00\xef\xbf\xbd\x00z\xff",
            "a byte 0xFF followed by 0 in a text is replaced");
    WRITTEN(FIN | TEXT, "\xfe\x80", "\x00\xfe\x80\xff", "other invalid UTF-8 is not changed");
}

/* ---- Random streams ---- */

static void random_content(unsigned char *out, size_t len)
{
    random_bytes(out, len);
    for (size_t i = 0; i < len; i++) {
        out[i] &= random_below(3) ? 0x7F : 0xFE;
    }
}

static void random_frame(transcript *expected)
{
    static unsigned char content[3000], out[3002];
    size_t len = random_below(random_below(4) ? 40 : sizeof(content));
    random_content(content, len);
    switch (random_below(6)) {
    case 0:
        RAW("\xff\x00");
        say_frame(expected, WS_OP_CLOSE, 0, ALL_LAST, NULL, 0);
        break;
    case 1: {
        unsigned char head[3] = {(unsigned char)(0x80 + random_below(0x80)),
                                 (unsigned char)(0x80 | len >> 7), (unsigned char)(len & 0x7F)};
        len += len == 0; /* a frame without content would be a close */
        head[2] |= len == 1;
        raw(head, 3);
        raw(content, len);
        break;
    }
    case 2:
        in[in_len++] = (unsigned char)(1 + random_below(0x7F));
        raw(content, len);
        RAW("\xff");
        break;
    default:
        raw(out, ws_hixie_frame(out, FIN | TEXT, content, len));
        expect(expected, TEXT, content, len);
    }
}

static void random_streams(void)
{
    static transcript expected;
    int wrong = 0;
    for (int round = 0; round < 300; round++) {
        setup(INT64_MAX);
        expected.len = in_len = 0;
        *expected.text = '\0';
        for (size_t frames = 1 + random_below(20); frames > 0; frames--) {
            random_frame(&expected);
        }
        for (int cuts = 0; cuts < 10; cuts++) {
            size_t step = 1 + random_below(cuts % 2 ? 20 : in_len);
            const char *got = parse(1 + random_below(in_len), step);
            if (strcmp(got, expected.text)) {
                diag("round %d, steps of %zu: taken as %s", round, step, got);
                wrong++;
            }
        }
    }
    is_int(wrong, 0, "random streams in random pieces are parsed correctly");
    in_len = 0;
}

/* Random bytes must give the same transcript in pieces of any size. */
static void random_garbage(void)
{
    static char whole[1 << 16];
    int wrong = 0;
    for (int round = 0; round < 2000; round++) {
        setup(random_below(60));
        in_len = 1 + random_below(200);
        random_bytes(in, in_len);
        for (size_t i = 0; i < in_len; i++) {
            static const unsigned char frequent[] = {0x00, 0xFF, 0x80, 0x01};
            if (random_below(2)) {
                in[i] = frequent[random_below(4)];
            }
        }
        strcpy(whole, parse(in_len, in_len));
        if (strcmp(parse(1 + random_below(in_len), 1 + random_below(9)), whole)) {
            diag("round %d: taken as %s", round, whole);
            wrong++;
        }
    }
    is_int(wrong, 0, "random bytes in random pieces give the same result");
    in_len = 0;
}

/* Write a text as one frame, and parse the frame. Bytes 0xFF are replaced, others are unchanged. */
static void random_texts_there_and_back(void)
{
    unsigned char text[64], out[200];
    int wrong = 0;
    for (int round = 0; round < 5000; round++) {
        size_t len = random_below(sizeof(text)), size;
        ws_hixie p = {.base.max = INT64_MAX};
        unsigned char *data = out;
        ws_piece piece;
        ws_parse_error error;
        random_bytes(text, len);
        for (size_t i = 0; i < len; i++) {
            text[i] |= random_below(4) ? 0 : 0xFF;
        }
        size = ws_hixie_frame(out, FIN | TEXT, text, len);
        wrong +=
            size > ws_hixie_frame_max(text, len)
            || ws_hixie_next(&p, &data, &size, &piece, &error) != WS_PARSE_DATA || size != 0
            || !(piece.flags & WS_MESSAGE_LAST)
            || (!memchr(text, 0xFF, len) && (piece.len != len || memcmp(piece.data, text, len)));
    }
    is_int(wrong, 0, "random texts are written and parsed unchanged");
}

int main(void)
{
    random_seed_printed();
    keys();
    keys_that_are_wrong();
    texts();
    closing();
    what_is_skipped();
    limits();
    between_frames();
    frames_out();
    random_streams();
    random_garbage();
    random_texts_there_and_back();
    return done_testing();
}
