-- Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
--
-- This mod_lua script echoes all messages, as text. bench/compare uses it.

function handle(r)
    if r:wsupgrade() then
        while true do
            local message = r:wsread()
            if not message then
                break
            end
            r:wswrite(message)
        end
    end
    return apache2.DONE
end
