/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/**
 * A bus: a table of functions that carry packets to other processes.
 *
 * There is one bus between the processes of this httpd (httpd/bus_local.c), and there can be one more to
 * other machines. A packet is handed to both; a bus to other machines does not deliver what comes from
 * this server (packet.from.server) back to it.
 *
 * THREADS. All functions may be called from any thread at any time, never block, and never call up
 * (ws_channels_receive) before they return. A caller of ws_channels_receive() holds no lock that they take.
 *
 * ORDER. What one process hands to a bus for another process, by publish and send, arrives in that order
 * or not at all.
 */

#ifndef WS_CHANNELS_BUS_H
#define WS_CHANNELS_BUS_H

#include "channels/packet.h"

typedef struct ws_channels ws_channels;
typedef struct ws_bus ws_bus;

struct ws_bus {
    const char *name; /**< for the log */

    /**
     * One subscriber more or less of a channel in this process. From the first one on, packets for the channel arrive; a
     * bus that needs time for that starts immediately.
     * @param change  1 or -1
     * @return WS_QUEUED; WS_LIMIT: it cannot keep so many channels; WS_FULL: no memory. -1 succeeds
     */
    ws_status (*want)(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash, int change);

    /**
     * Hand a packet to all other processes that want its channel; WS_PACKET_BROADCAST, to all.
     * @param reached  to be increased by the number of processes it was handed to
     * @param missed   to be increased by the number of those that could not be reached, and are told so
     *                 (WS_PACKET_MISSED) when they can be
     * @return WS_QUEUED. WS_FULL: too much waits already for one of them; none got it. With
     *         WS_PACKET_STORED it is not refused: those who miss it read the history
     */
    ws_status (*publish)(ws_bus *b, const ws_packet *p, apr_uint32_t *reached,
                         apr_uint32_t *missed);

    /** Hand a packet to one process. @return WS_HANDED, WS_FULL; WS_GONE: there is no such process, or
     *  it is not of this bus */
    ws_status (*send)(ws_bus *b, const ws_node *to, const ws_packet *p);

    /** Subscribers of a channel in other processes, as far as is known without asking. */
    apr_uint32_t (*subscribers)(ws_bus *b, const char *channel, unsigned len, apr_uint64_t hash);

    /** 1: the process runs. 0: it has ended. -1: it is not of this bus. */
    int (*alive)(ws_bus *b, const ws_node *node);

    /**
     * The processes that the bus reaches, this one included if it is one of them.
     * @param nodes  set, up to size
     * @param count  set
     * @return 1: these are all; 0: there may be more, which are not known now
     */
    int (*nodes)(ws_bus *b, ws_node *nodes, unsigned size, unsigned *count);
};

/**
 * A packet has come. Packets of one sender are to be brought in order, by one thread at a time.
 * May wait for loops that are behind, a few seconds: that is what slows senders down.
 */
WS_API void ws_channels_receive(ws_channels *h, const ws_packet *p);

/** Unknown packets for this process were lost: the channels read missing messages from their histories, and a
 *  counter counts.  [any thread] */
WS_API void ws_channels_missed(ws_channels *h, apr_uint64_t how_many);

#endif
