/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * stream PORT CA|- PATH frames|one|receive MIB
 *
 * This client sends one binary message of MIB MiB, in frames of 64 KiB ("frames") or in a single
 * frame ("one"), and prints the answer. With "receive", the server sends a message of that length;
 * the client pauses several times while it reads, and prints whether the bytes are right. With a
 * CA file, the connection uses TLS.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK (64 * 1024)

/* Number of pauses while the client reads one message, and the length of each pause,
 * microseconds. */
#define RESTS 5
#define REST 200000

static int fd;
static SSL *ssl;

__attribute__((noreturn)) static void fail(const char *what)
{
    printf("failed: %s\n", what);
    exit(1);
}

static void open_connection(int port, const char *ca)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        fail("connect");
    }
    if (strcmp(ca, "-")) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1) {
            fail("the CA's file");
        }
        ssl = SSL_new(ctx);
        SSL_set_fd(ssl, fd);
        SSL_set1_host(ssl, "localhost");
        if (SSL_connect(ssl) != 1) {
            fail("TLS");
        }
    }
}

static void put(const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = ssl ? SSL_write(ssl, at, (int)len) : write(fd, at, len);
        if (n <= 0) {
            fail("the server takes no more");
        }
        at += n;
        len -= (size_t)n;
    }
}

static size_t get_some(void *data, size_t len)
{
    ssize_t n = ssl ? SSL_read(ssl, data, (int)len) : read(fd, data, len);
    if (n <= 0) {
        fail("the server sends no more");
    }
    return (size_t)n;
}

static void get(void *data, size_t len)
{
    for (size_t n; len > 0; len -= n) {
        n = get_some(data, len);
        data = (char *)data + n;
    }
}

static void shake_hands(const char *path)
{
    char text[512], answer[4096];
    size_t n = 0;
    put(text, (size_t)snprintf(text, sizeof(text),
                               "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                               path));
    do {
        get(answer + n++, 1);
        answer[n] = '\0';
    } while (n < sizeof(answer) - 1 && !strstr(answer, "\r\n\r\n"));
    if (!strstr(answer, " 101 ")) {
        fail("no 101");
    }
}

static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};

static void put_header(unsigned first, uint64_t len)
{
    unsigned char h[14] = {(unsigned char)first, 0x80 | 127};
    for (int i = 0; i < 8; i++) {
        h[2 + i] = (unsigned char)(len >> (56 - 8 * i));
    }
    memcpy(h + 10, key, 4);
    put(h, sizeof(h));
}

/* Write 64 KiB of a message, masked, to the block. Each byte is the low byte of its offset in the
 * message, so all blocks are equal. */
static void fill(unsigned char *block)
{
    for (size_t i = 0; i < BLOCK; i++) {
        block[i] = (unsigned char)(i ^ key[i & 3]);
    }
}

static void send_message(uint64_t blocks, int single)
{
    unsigned char block[BLOCK];
    fill(block);
    if (single) {
        put_header(0x82, blocks * BLOCK);
    }
    for (uint64_t i = 0; i < blocks; i++) {
        if (!single) {
            put_header((i == 0 ? 0x02 : 0x00) | (i == blocks - 1 ? 0x80 : 0x00), BLOCK);
        }
        put(block, BLOCK);
    }
}

/* Read a frame's header, and store the payload's length.
 * @return the frame's first byte */
static unsigned get_header(uint64_t *len)
{
    unsigned char h[10];
    size_t n;
    get(h, 2);
    n = h[1] == 127 ? 8 : h[1] == 126 ? 2 : 0;
    get(h + 2, n);
    *len = n ? 0 : h[1];
    for (size_t i = 0; i < n; i++) {
        *len = *len << 8 | h[2 + i];
    }
    return h[0];
}

static void receive_message(uint64_t expected)
{
    static unsigned char data[BLOCK], pattern[BLOCK + 256];
    uint64_t came = 0, len, rest = expected / (RESTS + 1);
    unsigned first;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (unsigned char)i;
    }
    do {
        first = get_header(&len);
        if ((first & 0x7F) != (came ? 0x00 : 0x02)) {
            fail("a frame has the wrong opcode");
        }
        while (len > 0) {
            size_t n = get_some(data, len < BLOCK ? (size_t)len : BLOCK);
            if (memcmp(data, pattern + (came & 0xFF), n)) {
                fail("a byte is wrong");
            }
            if (came / rest != (came + n) / rest) {
                usleep(REST);
            }
            came += n;
            len -= n;
        }
    } while (!(first & 0x80));
    printf("%llu bytes, right\n", (unsigned long long)came);
}

static void print_text(void)
{
    uint64_t len;
    char text[126];
    if (get_header(&len) != 0x81 || len > 125) {
        fail("the answer is not a short text");
    }
    get(text, (size_t)len);
    printf("%.*s\n", (int)len, text);
}

int main(int argc, char *argv[])
{
    uint64_t mib;
    if (argc != 6) {
        fail("wrong arguments");
    }
    mib = strtoull(argv[5], NULL, 10);
    open_connection(atoi(argv[1]), argv[2]);
    shake_hands(argv[3]);
    if (!strcmp(argv[4], "receive")) {
        unsigned char text[32];
        int n = snprintf((char *)text, sizeof(text), "%llu", (unsigned long long)mib * 1024);
        unsigned char header[6] = {0x81, (unsigned char)(0x80 | n), key[0], key[1], key[2], key[3]};
        for (int i = 0; i < n; i++) {
            text[i] ^= key[i & 3];
        }
        put(header, sizeof(header));
        put(text, (size_t)n);
        receive_message(mib << 20);
    }
    else {
        send_message(mib * 16, !strcmp(argv[4], "one"));
        print_text();
    }
    return 0;
}
