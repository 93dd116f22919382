-- Copyright the mod_websocket authors. SPDX-License-Identifier: Apache-2.0
--
-- An echo on mod_lua, as bench/compare wants one.

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
