/* Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0 */

/** The script of the page about channels. It shows all notes in the history of the channel notes/wall, and the channel's members. */
import {Channels} from './channel.js';

const $ = id => document.getElementById(id);
const item = text => Object.assign(document.createElement('li'), {textContent: text});
const live = new Channels('/live');
const show = () => { $('state').textContent = $('state').dataset.state = live.state; };
const wall = live.subscribe('notes/wall', {after: 'all', watch: true, member: `guest ${Math.floor(1000 * Math.random())}`});

live.on('state', show);
show();
wall.on('gap', () => $('notes').append(item('Some notes are missing here.')));
for (const event of ['join', 'leave', 'members']) {
    wall.on(event, () => $('here').replaceChildren(...[...wall.members.values()].map(member => item(member.data))));
}
$('f-note').onsubmit = event => {
    event.preventDefault();
    wall.publish({text: $('note').value}).catch(error => $('notes').append(item(error.message)));
    $('note').value = '';
};
for await (const message of wall) {
    $('notes').append(item(message.json().text));
}
