# Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
# fish completion for wshandler-test

complete -c wshandler-test -s v -l verbose -d 'show the module\'s and the handler\'s log (-vv: every frame\'s event)'
complete -c wshandler-test -s n -l check -d 'check the syntax of the transcripts, but do not play them'
complete -c wshandler-test -s p -l patience -r -d 'time limit for a message or a callback (10)'
complete -c wshandler-test -l version -d 'show the version of this program'
complete -c wshandler-test -s h -l help -d 'show this text'
