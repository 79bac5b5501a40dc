# As %sysusers_create and %systemd_post do. Where rpm itself makes the users of packages, nothing is
# left to do.
systemd-sysusers watchbell.conf || :
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset watchbell.service || :
fi
