//! What is measured of a gateway.

use crate::support::figures::Measure;

pub(crate) const DOWN_1: Measure = Measure::median("down_1_mib_s", "1 tunnel, down, MiB/s");
pub(crate) const UP_1: Measure = Measure::median("up_1_mib_s", "1 tunnel, up, MiB/s");
pub(crate) const DOWN_8: Measure = Measure::median("down_8_mib_s", "8 tunnels, down, MiB/s");
pub(crate) const UP_8: Measure = Measure::median("up_8_mib_s", "8 tunnels, up, MiB/s");
pub(crate) const CPU_DOWN_1: Measure = Measure::median("cpu_down_1_s_gib", "CPU, 1 tunnel, down, s/GiB");
pub(crate) const CPU_UP_1: Measure = Measure::median("cpu_up_1_s_gib", "CPU, 1 tunnel, up, s/GiB");
pub(crate) const CPU_DOWN_8: Measure = Measure::median("cpu_down_8_s_gib", "CPU, 8 tunnels, down, s/GiB");
pub(crate) const CPU_UP_8: Measure = Measure::median("cpu_up_8_s_gib", "CPU, 8 tunnels, up, s/GiB");

/// All of it, in the order of the table.
pub(crate) const ALL: [Measure; 8] = [DOWN_1, UP_1, DOWN_8, UP_8, CPU_DOWN_1, CPU_UP_1, CPU_DOWN_8, CPU_UP_8];
