//! Clocks, power, temperature and throttling, from NVML. Where there is no NVML, or a GPU does
//! not tell, the fields stay empty: a measurement does not fail for want of a thermometer.

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::{Device, Nvml};

use crate::raw::DeviceReading;

/// NVML, if there is one, and the device's own name in it.
#[derive(Debug)]
pub(super) struct Sensors {
    nvml: Option<Nvml>,
    uuid: String,
}

impl Sensors {
    /// For the device of this UUID: CUDA may number devices otherwise than NVML does.
    pub(super) fn open(uuid: [u8; 16]) -> Self {
        Self { nvml: Nvml::init().ok(), uuid: uuid_text(uuid) }
    }

    fn device(&self) -> Option<Device<'_>> {
        self.nvml.as_ref()?.device_by_uuid(self.uuid.as_str()).ok()
    }

    /// The driver's version.
    pub(super) fn driver(&self) -> Option<String> {
        self.nvml.as_ref()?.sys_driver_version().ok()
    }

    /// What it shows now.
    pub(super) fn read(&self, when: &str) -> DeviceReading {
        let device = self.device();
        let device = device.as_ref();
        DeviceReading {
            when: when.to_owned(),
            sm_clock_mhz: device.and_then(|d| d.clock_info(Clock::SM).ok()),
            memory_clock_mhz: device.and_then(|d| d.clock_info(Clock::Memory).ok()),
            temperature_c: device.and_then(|d| d.temperature(TemperatureSensor::Gpu).ok()),
            power_w: device.and_then(|d| d.power_usage().ok()).map(|milliwatt| f64::from(milliwatt) / 1e3),
            throttle: device.and_then(|d| d.current_throttle_reasons().ok()).map(reasons).unwrap_or_default(),
        }
    }
}

/// `GPU-` and the bytes as NVML writes them.
fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = "GPU".to_owned();
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 0 | 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

/// The reasons for lower clocks, in words; an idle device is no reason.
fn reasons(active: ThrottleReasons) -> Vec<String> {
    let words = [
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "application clocks"),
        (ThrottleReasons::SW_POWER_CAP, "software power cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
        (ThrottleReasons::SYNC_BOOST, "sync boost"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "software thermal slowdown"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "hardware thermal slowdown"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "hardware power brake"),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display clocks"),
    ];
    words.iter().filter(|(reason, _)| active.contains(*reason)).map(|(_, word)| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_device_is_not_throttled() {
        assert_eq!(reasons(ThrottleReasons::GPU_IDLE), Vec::<String>::new());
        assert_eq!(reasons(ThrottleReasons::NONE), Vec::<String>::new());
        let hot =
            ThrottleReasons::GPU_IDLE | ThrottleReasons::SW_POWER_CAP | ThrottleReasons::HW_THERMAL_SLOWDOWN;
        assert_eq!(reasons(hot), ["software power cap", "hardware thermal slowdown"]);
    }

    #[test]
    fn uuids_are_written_as_nvml_does() {
        let bytes = std::array::from_fn(|i| u8::try_from(17 * i).unwrap());
        assert_eq!(uuid_text(bytes), "GPU-00112233-4455-6677-8899-aabbccddeeff");
    }

    #[test]
    fn a_device_that_is_not_there_shows_nothing() {
        let nothing = Sensors::open([0; 16]).read("before");
        assert_eq!(
            (nothing.when.as_str(), nothing.sm_clock_mhz, nothing.throttle.len()),
            ("before", None, 0)
        );
    }
}
