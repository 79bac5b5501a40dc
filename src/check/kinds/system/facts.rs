//! What is found of a machine.

use crate::check::support::absent::ABSENT;
use crate::model::{FactSpec, FactType};

/// All facts of the kind `system`.
pub const ALL: &[FactSpec] = &[
    FactSpec::kept(
        "cpu_percent",
        FactType::Double,
        "%",
        "use of all processors together since the run before, 0 to 100; in the first run over \
         200 ms; in a container of what it may use",
    ),
    FactSpec::kept("cpu_user_percent", FactType::Double, "%", "by programs"),
    FactSpec::kept("cpu_system_percent", FactType::Double, "%", "by the kernel"),
    FactSpec::kept("cpu_iowait_percent", FactType::Double, "%", "idle, waiting for disks"),
    FactSpec::kept(
        "cpu_steal_percent",
        FactType::Double,
        "%",
        "kept back by the host of a virtual machine",
    ),
    FactSpec::kept("cpus", FactType::Map, "%", "use of each processor, by its number"),
    FactSpec::kept("cores", FactType::Double, "", "processors that may be used"),
    FactSpec::kept("load1", FactType::Double, "", "load average of 1 minute"),
    FactSpec::kept("load5", FactType::Double, "", "load average of 5 minutes"),
    FactSpec::kept("load15", FactType::Double, "", "load average of 15 minutes"),
    FactSpec::kept("load_per_core", FactType::Double, "", "load1, over the processors"),
    FactSpec::kept(
        "memory_used_percent",
        FactType::Double,
        "%",
        "memory that programs could not have, 0 to 100; in a container of its limit",
    ),
    FactSpec::kept(
        "memory_available_bytes",
        FactType::Int,
        "B",
        "memory that programs could still have",
    ),
    FactSpec::kept("memory_total_bytes", FactType::Int, "B", "memory, or the container's limit"),
    FactSpec::kept("swap_used_percent", FactType::Double, "%", "0 where there is no swap"),
    FactSpec::kept("swap_used_bytes", FactType::Int, "B", "what is swapped out"),
    FactSpec::kept(
        "pressure_cpu_percent",
        FactType::Double,
        "%",
        "share of the last 10 seconds in which some program waited for a processor (PSI)",
    ),
    FactSpec::kept("pressure_memory_percent", FactType::Double, "%", "likewise, for memory"),
    FactSpec::kept("pressure_io_percent", FactType::Double, "%", "likewise, for disks"),
    FactSpec::kept(
        "pressure",
        FactType::Map,
        "%",
        "`cpu`, `memory`, `io`: {some_avg10, some_avg60, full_avg10, full_avg60}; full: all waited",
    ),
    FactSpec::kept(
        "disk_used_percent",
        FactType::Double,
        "%",
        "of the fullest disk, as df counts; `disks` has each",
    ),
    FactSpec::kept(
        "disk_inodes_used_percent",
        FactType::Double,
        "%",
        "of the disk with the least left",
    ),
    FactSpec::kept(
        "disk_full_in_hours",
        FactType::Double,
        "h",
        "when the first disk will be full, by a line through up to 240 runs; 8760 (a year) where \
         none fills, and until five runs and 30 seconds are known",
    ),
    FactSpec::kept(
        "disks_turned_read_only",
        FactType::Int,
        "",
        "disks that could be written in a run before, and cannot now",
    ),
    FactSpec::kept("disk_read_bytes_per_second", FactType::Double, "B/s", "of all these disks"),
    FactSpec::kept("disk_write_bytes_per_second", FactType::Double, "B/s", "likewise"),
    FactSpec::kept("disk_busy_percent", FactType::Double, "%", "of the busiest of them"),
    FactSpec::kept(
        "disk_errors",
        FactType::Int,
        "",
        "errors that the file systems have noted: ext4 since its last fsck, btrfs since its counts \
         were reset; others count none",
    ),
    FactSpec::kept(
        "disks",
        FactType::Map,
        "",
        "by mount point: {used_percent, inodes_used_percent, available_bytes, total_bytes, \
         full_in_hours, read_only, read_bytes_per_second, write_bytes_per_second, busy_percent, \
         errors}",
    ),
    FactSpec::kept(
        "network_rx_bytes_per_second",
        FactType::Double,
        "B/s",
        "received over all network devices, since the run before; in the first run over 200 ms",
    ),
    FactSpec::kept("network_tx_bytes_per_second", FactType::Double, "B/s", "sent, likewise"),
    FactSpec::kept("network_errors_per_second", FactType::Double, "1/s", "both ways, likewise"),
    FactSpec::kept("network_drops_per_second", FactType::Double, "1/s", "both ways, likewise"),
    FactSpec::kept(
        "network",
        FactType::Map,
        "",
        "by device: {rx_bytes_per_second, tx_bytes_per_second, errors_per_second, \
         drops_per_second}",
    ),
    FactSpec::kept("open_files", FactType::Int, "", "file descriptors in use"),
    FactSpec::kept("open_files_percent", FactType::Double, "%", "of what the kernel allows"),
    FactSpec::kept("processes", FactType::Int, "", "all processes"),
    FactSpec::kept("process_count", FactType::Int, "", "processes called `process`"),
    FactSpec::kept(
        "watched",
        FactType::Map,
        "",
        "by label, of `process` and `processes`: {count, cpu_percent, memory_bytes, age_seconds, \
         restarted}; 100% is one processor, the age that of the oldest",
    ),
    FactSpec::kept(
        "processes_restarted",
        FactType::Int,
        "",
        "watches whose oldest process is a younger one than in the run before",
    ),
    FactSpec::kept(
        "units",
        FactType::Map,
        "",
        "by unit: {state, sub_state, restarts, result}; state as systemd calls it, or not-found",
    ),
    FactSpec::kept("units_inactive", FactType::Int, "", "units of `units` that are not active"),
    FactSpec::kept("temperature_celsius", FactType::Double, "°C", "of the hottest sensor"),
    FactSpec::kept("temperatures", FactType::Map, "°C", "by sensor"),
    FactSpec::kept(
        "clock_offset_seconds",
        FactType::Double,
        "s",
        "how far the clock is from that of `ntp_server`; above zero, it is slow",
    ),
    FactSpec::kept(
        "oom_kills",
        FactType::Int,
        "",
        "programs killed for memory since the run before",
    ),
    FactSpec::kept(
        "reboot_required",
        FactType::Bool,
        "",
        "whether an update waits for a restart, where the distribution says so (Debian, Ubuntu)",
    ),
    FactSpec::kept("uptime_seconds", FactType::Int, "s", "time since the machine started"),
    ABSENT,
];
