# As %systemd_preun: only a removal, and no upgrade, ends the service.
if [ "$1" -eq 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now watchbell.service || :
    else
        systemctl --no-reload disable watchbell.service || :
    fi
fi
