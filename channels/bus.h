/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * The interface of a bus: a table of functions that carry packets to other processes.
 *
 * One bus connects the processes of this httpd (httpd/bus_local.c). A second, optional bus connects
 * this httpd to other machines. Each packet is handed to both. The bus to other machines never
 * delivers this server's own packets (packet.from.server) to this server.
 *
 * THREADS. All functions may be called from any thread at any time and never block. They never call
 * ws_channels_receive() before they return. A caller of ws_channels_receive() holds no lock that
 * these functions take.
 *
 * ORDER. Packets that one process hands to a bus for another process, with publish or send, arrive
 * in the order of the calls. The bus may lose some of them.
 */

#ifndef WS_CHANNELS_BUS_H
#define WS_CHANNELS_BUS_H

#include "channels/packet.h"

typedef struct ws_channels ws_channels;
typedef struct ws_bus ws_bus;

struct ws_bus {
    const char *name; /**< for the log */

    /**
     * Add or remove one subscriber of a channel in this process. The bus delivers the channel's
     * packets while there is at least one subscriber. If setup takes time, the bus starts it
     * immediately, and calls ws_channels_wanted() when it is complete.
     * @param change  1 or -1; -1 always succeeds
     * @return WS_QUEUED; WS_LIMIT: the bus's limit on channels is reached; WS_FULL: out of memory
     */
    ws_status (*want)(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash, int change);

    /**
     * Hand a packet to all other processes that have subscribers of its channel. A packet for which
     * ws_packet_is_for_all() is true goes to all other processes.
     * @param reached  incremented for each process that the packet was handed to
     * @param missed   incremented for each process that could not be reached. The bus sends
     *                 WS_PACKET_MISSED to that process once it can be reached
     * @return WS_QUEUED. WS_FULL: the queue of one of the processes is full, and none received the
     *         packet. The bus does not refuse a packet with WS_PACKET_STORED, because a process
     *         that misses the packet recovers from that, for example from the history
     */
    ws_status (*publish)(ws_bus *b, const ws_packet *p, apr_uint32_t *reached,
                         apr_uint32_t *missed);

    /** Hand a packet to one process. @return WS_HANDED; WS_FULL: the queue is full, or memory
     *  is exhausted; WS_GONE: the process does not exist, or this bus does not reach it */
    ws_status (*send)(ws_bus *b, const ws_node *to, const ws_packet *p);

    /** Number of a channel's subscribers in other processes, as far as known to this process. */
    apr_uint32_t (*subscribers)(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash);

    /** 1: the process runs. 0: it has ended. -1: this bus does not reach it. */
    int (*alive)(ws_bus *b, const ws_node *node);

    /**
     * List the processes that the bus reaches, which may include this process.
     * @param nodes  filled with at most size processes
     * @param count  set to the number of processes in nodes
     * @return 1: the list is complete; 0: there may be others, currently unknown
     */
    int (*nodes)(ws_bus *b, ws_node *nodes, unsigned size, unsigned *count);
};

/**
 * A bus calls this for each packet that it receives. It must pass the packets of one sender in
 * order, and from one thread at a time. The function may block for a few seconds while a loop's
 * queue is full: this is the back-pressure on senders.
 */
WS_API void ws_channels_receive(ws_channels *h, const ws_packet *p);

/** A bus whose want() takes time calls this when the channel's packets start to arrive. This
 *  function reads the messages that were stored earlier from the history, and requests the members
 *  again.
 *  [any thread] */
WS_API void ws_channels_wanted(ws_channels *h, const char *channel, unsigned len);

/** A bus calls this after it has lost packets for this process. The channels read missing messages
 *  from their histories. @param how_many added to the counter of missed messages  [any thread] */
WS_API void ws_channels_missed(ws_channels *h, apr_uint64_t how_many);

#endif
