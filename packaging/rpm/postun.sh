# As %systemd_postun_with_restart: after an upgrade the new program takes over.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
    if [ "$1" -ge 1 ]; then
        systemctl try-restart watchbell.service || :
    fi
fi
