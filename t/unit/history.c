/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** Tests the history file: positions, retention, several processes, and damaged files. */

#include <apr_general.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "channels/history_records.h"
#include "t/unit/tap.h"

#define SIZE (4u * 1024 * 1024)

static apr_pool_t *pool;
static char directory[64], last_line[600];
static int lines;

static void note(ws_log_level level, const char *text)
{
    (void)level;
    lines++;
    snprintf(last_line, sizeof(last_line), "%s", text);
}

static char *path(const char *name)
{
    return apr_pstrcat(pool, directory, "/", name, NULL);
}

static void fresh_directory(void)
{
    strcpy(directory, "/tmp/ws-history-XXXXXX");
    if (!mkdtemp(directory)) {
        abort();
    }
}

static void remove_directory(void)
{
    unlink(path("data.mdb"));
    unlink(path("data.mdb.damaged"));
    unlink(path("lock.mdb"));
    rmdir(directory);
}

static ws_history_records *open_history(void)
{
    ws_history_records *h;
    return ws_history_records_open(&h, directory, SIZE, note, pool) == APR_SUCCESS ? h : NULL;
}

static apr_status_t append_bytes(ws_history_records *h, const char *channel, ws_keep keep,
                                 const char *data, apr_size_t len, ws_position *at)
{
    ws_message *m = ws_message_new(channel, WS_BINARY, data, len);
    apr_status_t rv = APR_ENOSPC;
    for (unsigned i = 0; rv == APR_ENOSPC && i <= WS_CHANGE_HARDEST; i++) {
        ws_change *c;
        if ((rv = ws_change_begin(h, i, &c)) == APR_SUCCESS) {
            apr_status_t appended = ws_change_append(c, m, &keep, at);
            rv = ws_change_end(c);
            rv = rv == APR_SUCCESS ? appended : rv;
        }
    }
    ws_message_unref(m);
    return rv;
}

static ws_position append(ws_history_records *h, const char *channel, apr_uint32_t count,
                          const char *text)
{
    ws_position at = {0, 0};
    append_bytes(h, channel, (ws_keep){count, 0}, text, strlen(text), &at);
    return at;
}

static apr_status_t clear(ws_history_records *h, const char *channel)
{
    ws_change *c;
    apr_status_t rv = ws_change_begin(h, 0, &c);
    if (rv == APR_SUCCESS) {
        ws_change_clear(c, channel);
        rv = ws_change_end(c);
    }
    return rv;
}

/* The result of reading. The text has all messages: "a b c". */
typedef struct reading {
    char text[4096];
    ws_position last;
    apr_uint64_t count, most;
    int holes;
    ws_span span;
} reading;

static int take(const ws_past *past, void *arg)
{
    reading *r = arg;
    size_t used = strlen(r->text);
    r->holes += r->count && past->at.offset != r->last.offset + 1;
    r->last = past->at;
    if (r->count++ < 100) {
        snprintf(r->text + used, sizeof(r->text) - used, "%s%.*s", used ? " " : "", (int)past->len,
                 past->data);
    }
    return r->count == r->most;
}

static const ws_position everything = {0, 0};

static reading *read_some(ws_history_records *h, const char *channel, ws_position after,
                          apr_uint64_t most)
{
    static reading r;
    memset(&r, 0, sizeof(r));
    r.most = most;
    if (ws_history_records_read(h, channel, after, take, &r, &r.span) != APR_SUCCESS) {
        strcpy(r.text, "error");
    }
    return &r;
}

static reading *read_from(ws_history_records *h, const char *channel, ws_position after)
{
    return read_some(h, channel, after, 0);
}

static void positions(void)
{
    ws_history_records *h = open_history();
    ws_position a, b, c, before, other;
    reading *r;

    r = read_from(h, "news", everything);
    is_str(r->text, "", "a channel without messages has an empty history");
    before = r->span.last;
    ok(before.epoch && !before.offset, "a channel without messages has a position");
    a = append(h, "news", 3, "a");
    b = append(h, "news", 3, "b");
    other = append(h, "other", 3, "x");
    c = append(h, "news", 3, "c");
    ok(a.offset == 1 && b.offset == 2 && c.offset == 3, "offsets grow by one in each channel");
    ok(a.epoch == b.epoch && a.epoch > before.epoch && other.epoch > a.epoch,
       "each channel has its own epoch");
    r = read_from(h, "news", everything);
    is_str(r->text, "a b c", "all messages are read");
    is_int(r->span.count, 3, "the messages are counted");
    ok(r->span.last.offset == 3 && !r->span.gap,
       "the last position is that of the last message, without a gap");
    is_str(read_from(h, "news", a)->text, "b c", "messages after a position are read");
    is_str(read_some(h, "news", a, 1)->text, "b", "a limited number of messages is read");
    r = read_from(h, "news", c);
    ok(!r->count && !r->span.gap,
       "after the last message, no messages are read, and there is no gap");
    r = read_from(h, "news", before);
    is_str(r->text, "a b c", "a reader that starts before the first message gets all messages");
    is_int(r->span.gap, 0, "a reader that starts before the first message gets no gap");
    append(h, "news", 3, "d");
    r = read_from(h, "news", a);
    ok(!r->span.gap && !strcmp(r->text, "b c d"),
       "a dropped message that the reader had seen causes no gap");
    append(h, "news", 3, "e");
    r = read_from(h, "news", a);
    ok(r->span.gap, "a dropped message that the reader had not seen causes a gap");
    is_str(r->text, "c d e", "after the gap, the kept messages are read");
    ok(read_from(h, "news", before)->span.gap,
       "a reader that starts before the first message gets a gap");
    ok(!read_from(h, "news", everything)->span.gap, "a reader of all kept messages gets no gap");
    before = (ws_position){c.epoch, 77};
    ok(read_from(h, "news", before)->span.gap, "a position after the last message causes a gap");
    ok(read_from(h, "news", other)->span.gap, "a position of another channel causes a gap");
    before = read_from(h, "silent", everything)->span.last;
    ok(!read_from(h, "silent", before)->span.gap, "a channel without messages has no gap");
    is_int(clear(h, "silent"), APR_SUCCESS, "a channel without messages can be cleared");

    is_int(clear(h, "news"), APR_SUCCESS, "a channel is cleared");
    r = read_from(h, "news", everything);
    ok(!r->count && r->span.last.offset == 5,
       "after clearing, the channel is empty and keeps its offsets");
    before = r->span.last;
    ok(!read_from(h, "news", before)->span.gap,
       "a reader that had seen the last message gets no gap");
    ok(read_from(h, "news", c)->span.gap, "a reader that had not seen the last message gets a gap");
    is_int(append(h, "news", 3, "f").offset, 6, "after clearing, the next offset follows");
    is_str(read_from(h, "other", everything)->text, "x", "other channels are not cleared");
    ws_history_records_close(h);

    h = open_history();
    is_str(read_from(h, "news", before)->text, "f",
           "the history remains when all processes have closed it");
    ws_history_records_close(h);
}

static void ages(void)
{
    ws_history_records *h = open_history();
    ws_keep keep = {10, 1};
    ws_position at, first;
    reading *r;
    apr_time_t start = apr_time_now();
    append_bytes(h, "aged", keep, "\0\377", 2, &first);
    is_int(read_from(h, "aged", everything)->count, 1,
           "a message younger than the maximum age is read");
    append(h, "ageless", 10, "x");
    while (apr_time_now() < start + apr_time_from_msec(1100)) {
        apr_sleep(50000);
    }
    r = read_from(h, "aged", everything);
    is_int(r->count, 0,
           "a message older than the maximum age is not read, even before it is removed");
    ok(!read_from(h, "aged", first)->span.gap,
       "a reader that had seen the expired message gets no gap");
    append_bytes(h, "aged", keep, "", 0, &at);
    r = read_from(h, "aged", first);
    ok(r->count == 1 && at.offset == 2 && !r->span.gap,
       "the next message, which may be empty, is read");
    is_int(read_from(h, "ageless", everything)->count, 1,
           "without a maximum age, the message is kept");
    ws_history_records_close(h);
}

static apr_off_t file_size(const char *name)
{
    struct stat s;
    return stat(path(name), &s) == 0 ? s.st_size : -1;
}

/* Append messages of up to `most` bytes until they have `bytes` bytes together. @return how many
 * failed */
static int flood(ws_history_records *h, apr_size_t most, int channels, apr_uint64_t bytes)
{
    char *data = malloc(most);
    int failed = 0;
    memset(data, 'x', most);
    for (apr_uint64_t sum = 0, i = 0; sum < bytes; i++) {
        apr_size_t len = most / 2 + (i * 7919) % (most / 2);
        ws_keep keep = {1000000, 0};
        ws_position at;
        char name[20];
        snprintf(name, sizeof(name), "flood%d", (int)(i % channels));
        failed += append_bytes(h, name, keep, data, len, &at) != APR_SUCCESS;
        sum += len + 100;
    }
    free(data);
    return failed;
}

static void sizes(void)
{
    static char huge[SIZE];
    ws_history_records *h = open_history();
    ws_keep keep = {10, 0};
    ws_position at, old;
    reading *r;
    old = append(h, "first", 100, "soon gone");
    is_int(flood(h, 100, 3, SIZE / 3), 0, "more small messages than fit are accepted");
    r = read_from(h, "first", old);
    ok(!r->count && !r->span.gap,
       "the oldest messages are dropped; a reader that had seen them gets no gap");
    at = (ws_position){old.epoch, 0};
    ok(read_from(h, "first", at)->span.gap,
       "a reader that had not seen the dropped messages gets a gap");
    r = read_from(h, "flood1", everything);
    ok(r->count > 1000 && !r->holes && r->span.count == r->count,
       "the newest %d messages are kept, and none between them is missing", (int)r->count);
    is_int(flood(h, 100, 3, 3 * SIZE), 0, "three times as many messages are accepted");
    is_int(flood(h, 200000, 3, 5 * SIZE), 0, "large messages are accepted");
    r = read_from(h, "flood2", everything);
    ok(r->count > 1 && !r->holes,
       "the newest %d large messages are kept, and none between them is missing", (int)r->count);
    is_int(flood(h, 5000, 400, 3 * SIZE), 0, "messages of many channels are accepted");
    ok(file_size("data.mdb") <= (apr_off_t)SIZE, "the file has %d bytes",
       (int)file_size("data.mdb"));
    is_int(flood(h, 30, 20000, 3 * SIZE), 0, "so many channels are accepted that some are dropped");
    r = read_from(h, "first", old);
    ok(!r->count && r->span.gap, "a reader of a dropped channel gets a gap");
    is_int(append_bytes(h, "x", keep, huge, SIZE, &at), APR_ENOSPC,
           "a message larger than the whole history is refused");
    ws_history_records_close(h);
}

/* ---- Processes ---- */

static pid_t spawn(void (*fn)(int arg), int arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    return pid;
}

static int wait_end(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

#define WRITERS 4
#define EACH 400

static void write_many(int who)
{
    ws_history_records *h = open_history();
    for (int i = 0; i < EACH; i++) {
        char text[20];
        snprintf(text, sizeof(text), "%d.%d", who, i);
        if (!append(h, "busy", 1000000, text).offset) {
            _exit(1);
        }
    }
    ws_history_records_close(h);
}

typedef struct order {
    int next[WRITERS], wrong;
    apr_uint64_t offset;
} order;

static int check_order(const ws_past *past, void *arg)
{
    order *o = arg;
    int who = past->data[0] - '0', number = 0;
    for (apr_size_t i = 2; i < past->len; i++) {
        number = 10 * number + past->data[i] - '0';
    }
    o->wrong += past->at.offset != ++o->offset;
    o->wrong += who < 0 || who >= WRITERS || number != o->next[who]++;
    return 0;
}

static void many_processes(void)
{
    pid_t pids[WRITERS];
    ws_history_records *h = open_history();
    order o = {{0}, 0, 0};
    ws_position seen;
    int ended = 0, bad = 0, reads = 0;
    ws_span span;

    read_from(h, "busy", everything);
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = spawn(write_many, i);
    }
    /* A reader that continues from its last position must get every message once. */
    seen = everything;
    for (int last = 0; !last; reads++) {
        int status;
        last = ended == WRITERS;
        ws_history_records_read(h, "busy", seen, check_order, &o, &span);
        bad += span.gap;

        seen = (ws_position){span.last.epoch, o.offset};
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; ended++) {
            bad += status != 0;
        }
    }
    is_int(bad, 0, "%d processes write while another reads %d times", WRITERS, reads);
    is_int(o.offset, WRITERS * EACH, "all messages of these processes are stored");
    is_int(o.wrong, 0, "each message is stored once, in the order of its process");
    ws_history_records_close(h);
    (void)pids;
}

static int progress[2];

static void write_until_killed(int i)
{
    ws_history_records *h = open_history();
    static char data[3000];
    ws_keep keep = {200, 0};
    ws_position at;
    memset(data, 'k', sizeof(data));
    while (append_bytes(h, "killed", keep, data, 10 + (i++ % 7) * 400, &at) == APR_SUCCESS) {
        if (write(progress[1], "x", 1) < 0) {
            break;
        }
    }
}

static int stop_reading(const ws_past *past, void *arg)
{
    (void)past, (void)arg;
    if (write(progress[1], "r", 1) == 1) {
        for (;;) {
            pause();
        }
    }
    return 1;
}

static void read_until_killed(int arg)
{
    ws_history_records *h = open_history();
    ws_span span;
    (void)arg;
    ws_history_records_read(h, "flood0", everything, stop_reading, NULL, &span);
}

static void wait_progress(int bytes)
{
    char c;
    while (bytes-- && read(progress[0], &c, 1) == 1) {
    }
}

static void forget_progress(void)
{
    fcntl(progress[0], F_SETFL, O_NONBLOCK);
    wait_progress(-1);
    fcntl(progress[0], F_SETFL, 0);
}

static void killed_processes(void)
{
    ws_history_records *h = open_history();
    apr_uint64_t before = 0;
    ws_position at;
    reading *r;
    int wrong = 0;

    if (pipe(progress) < 0) {
        abort();
    }
    for (int i = 0; i < 40; i++) {
        pid_t pids[2] = {spawn(write_until_killed, i), spawn(write_until_killed, i + 3)};
        wait_progress(20 + i * 7 % 50);
        for (int j = 0; j < 2; j++) {
            kill(pids[j], SIGKILL);
            wait_end(pids[j]);
        }
        forget_progress();
        r = read_from(h, "killed", everything);
        wrong += r->holes || r->span.gap || r->count > 200 || r->last.offset < before;
        before = r->last.offset;
        /* The writer may have been killed after its commit and before its notification. The next
         * reader must see the message. */
        at = append(h, "killed", 200, "mine");
        r = read_from(h, "killed", everything);
        wrong += at.offset <= before || r->last.offset != at.offset || r->holes;
        before = at.offset;
    }
    is_int(wrong, 0, "80 processes were killed while they wrote, %d messages are in order",
           (int)before);
    flood(h, 20000, 3, SIZE);
    wrong = 0;
    for (int i = 0; i < 5; i++) {
        pid_t pid = spawn(read_until_killed, 0);
        wait_progress(1);
        kill(pid, SIGKILL);
        wait_end(pid);
        wrong += flood(h, 20000, 3, SIZE);
    }
    is_int(wrong, 0, "readers that were killed do not keep old messages");
    ws_history_records_close(h);
}

static void open_and_read(int arg)
{
    ws_history_records *h = open_history();
    (void)arg;
    _exit(!(h && read_from(h, "flood0", everything)->count));
}

static void no_room(void)
{
    ws_history_records *h = open_history();
    pid_t pid = spawn(read_until_killed, 0);
    int wrong = 0;
    wait_progress(1);
    while (flood(h, 20000, 1, 1) == 0) {
    }
    while (flood(h, 30, 1, 1) == 0) {
    }
    ok(1, "a reader that does not end keeps old messages, until the file is full");
    for (int i = 0; i < 10; i++) {
        wrong += wait_end(spawn(open_and_read, 0)) != 0;
    }
    is_int(wrong, 0, "processes can open the full file and read");
    kill(pid, SIGKILL);
    wait_end(pid);
    is_int(flood(h, 20000, 3, SIZE), 0, "when the reader has ended, messages are accepted again");
    ws_history_records_close(h);
}

/* ---- Damage ---- */

#ifdef __SANITIZE_ADDRESS__
/* The process that inspects a damaged file may crash, and has a time limit. On a busy machine,
 * AddressSanitizer's report of the crash would take longer. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_segv=0:handle_sigbus=0";
}
#endif

static void overwrite(apr_off_t at, apr_size_t len)
{
    int fd = open(path("data.mdb"), O_WRONLY);
    char *junk = malloc(len);
    for (apr_size_t i = 0; i < len; i++) {
        junk[i] = (char)(i * 31 + 7);
    }
    if (pwrite(fd, junk, len, at) != (apr_ssize_t)len) {
        abort();
    }
    free(junk);
    close(fd);
}

static void with_damage(const char *what, void (*damage)(void))
{
    ws_history_records *h = open_history(), *other;
    ws_position at;

    flood(h, 300, 30, SIZE / 4);
    at = append(h, "news", 10, "old");
    ws_history_records_close(h);
    is_int(ws_history_records_inspect(directory, SIZE, note, 0, 0), APR_SUCCESS,
           "%s: messages are stored before the damage", what);
    lines = 0;
    damage();
    is_int(ws_history_records_inspect(directory, SIZE, note, 0, 0), APR_SUCCESS,
           "%s: inspecting the file succeeds", what);
    ok(file_size("data.mdb.damaged") > 0 && file_size("data.mdb") < 0,
       "%s: the damaged file is renamed", what);
    h = open_history();
    ok(h && append(h, "news", 10, "new").epoch > at.epoch, "%s: the new file has a new epoch",
       what);
    ok(read_from(h, "news", at)->span.gap, "%s: a position of the damaged file causes a gap", what);
    unlink(path("data.mdb.damaged"));

    /* This process must notice that another process has replaced the file. */
    rename(path("data.mdb"), path("gone"));
    unlink(path("lock.mdb"));
    unlink(path("gone"));
    {
        apr_pool_t *saved = pool;
        apr_pool_create(&pool, saved);
        pid_t pid = fork();
        if (pid == 0) {
            other = open_history();
            _exit(!(other && append(other, "news", 10, "theirs").offset == 1));
        }
        is_int(wait_end(pid), 0, "%s: another process creates a new file", what);
        pool = saved;
    }
    is_str(read_from(h, "news", everything)->text, "theirs",
           "%s: a message of the other process is read from the new file", what);
    ws_history_records_close(h);
    remove_directory();
    mkdir(directory, 0700);
}

static void cut(void)
{
    if (truncate(path("data.mdb"), file_size("data.mdb") / 2) < 0) {
        abort();
    }
}

static void scribble(void)
{
    for (apr_off_t at = 8192; at < file_size("data.mdb"); at += 4096) {
        overwrite(at, 4096);
    }
}

static void no_database(void)
{
    overwrite(0, 8192);
}

static void empty_pages(void)
{
    int fd = open(path("data.mdb"), O_WRONLY);
    char zeros[4096] = "";
    for (apr_off_t at = 8192; at < file_size("data.mdb"); at += 4096) {
        if (pwrite(fd, zeros, sizeof(zeros), at) < 0) {
            abort();
        }
    }
    close(fd);
}

static void not_ours(void)
{
    ws_history_records *h;
    ws_history_records_close(open_history());
    if (geteuid() == 0) {
        int status = ws_history_records_inspect(directory, SIZE, note, 65534, 65534);
        ok(status != APR_SUCCESS && strstr(last_line, "owner"),
           "a process without permission gets an error: %s", last_line);
    }
    remove_directory();
    ok(ws_history_records_open(&h, directory, SIZE, note, pool) != APR_SUCCESS,
       "without its directory, the file cannot be opened");
    ok(strstr(last_line, "cannot open") != NULL, "%s", last_line);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    apr_initialize();
    apr_pool_create(&pool, NULL);
    fresh_directory();
    positions();
    ages();
    sizes();
    remove_directory();
    mkdir(directory, 0700);
    many_processes();
    killed_processes();
    no_room();
    remove_directory();
    mkdir(directory, 0700);
    with_damage("cut off", cut);
    with_damage("scribbled over", scribble);
    with_damage("no database", no_database);
    with_damage("emptied", empty_pages);
    not_ours();
    return done_testing();
}
