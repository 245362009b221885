//! The flags that describe a new VPS. Pure: words in, an [`Order`] out; the key is added later.

use crate::api::{Access, Machine, Order, Placement};
use crate::failure::Failure;
use crate::target::{TargetError, VpsRef};

#[derive(clap::Args, Debug)]
pub(crate) struct OrderFlags {
    /// Name of the VPS
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Run on this Runner, NUMA node and GPUs [default: the Host chooses]
    #[arg(long, short = 't', value_name = "NODE[:NUMA][::GPU,...]", value_parser = placement)]
    target: Option<Placement>,
    /// CPU cores [default: 1]
    #[arg(long, short = 'c', value_name = "NUMBER")]
    cores: Option<u32>,
    /// Memory, for example 512M or 16G
    #[arg(long, short = 'm', value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    /// Start from this environment of the Host [default: the Host chooses]
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    container: Option<String>,
    /// Start from this image in a registry
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Create a container (docker) or a virtual machine (qemu)
    #[arg(long, short = 'b', value_name = "docker|qemu", value_parser = ["docker", "qemu"], default_value = "docker", hide_possible_values = true)]
    backend: String,
    /// Image of the virtual machine, as the Host names it
    #[arg(long, value_name = "NAME")]
    vm_image: Option<String>,
    /// Disk of the virtual machine, for example 50G
    #[arg(long, alias = "vm-disk", value_name = "SIZE", value_parser = disk_size)]
    vm_disk_size: Option<String>,
    /// Memory of the virtual machine, for example 8G
    #[arg(long, value_name = "SIZE", value_parser = machine_memory)]
    vm_memory: Option<u64>,
    /// Mount a folder of the Runner (older Hosts only)
    #[arg(long, value_name = "FOLDER:FOLDER[:ro]", value_parser = mount)]
    mount: Vec<String>,
    /// Give the container the Runner's devices and capabilities (older Hosts only)
    #[arg(long)]
    privileged: bool,
}

impl OrderFlags {
    /// The order, still without a key.
    pub(crate) fn order(self) -> Result<Order, Failure> {
        let machine = Machine {
            image: self.vm_image,
            disk_size: self.vm_disk_size,
            memory_mib: self.vm_memory.map(|bytes| bytes.div_ceil(1 << 20)),
        };
        let is_machine = self.backend == "qemu";
        if !is_machine && machine != Machine::default() {
            return Err(Failure::usage("--vm-image, --vm-disk-size and --vm-memory are for virtual machines only")
                .hint("add `--backend qemu`"));
        }
        let container = [self.container.is_some(), self.image.is_some(), self.privileged, !self.mount.is_empty()];
        if is_machine && container.contains(&true) {
            return Err(Failure::usage("--container, --image, --mount and --privileged are for containers only")
                .hint("choose a virtual machine's image with `--vm-image`"));
        }
        Ok(Order {
            name: self.name,
            cores: self.cores,
            memory_bytes: self.memory,
            target: self.target,
            container: self.container,
            image: self.image,
            access: Access::Terminals,
            machine: is_machine.then_some(machine),
            mounts: self.mount,
            privileged: self.privileged,
        })
    }
}

/// A name that every command finds the VPS by.
fn name(text: &str) -> Result<String, &'static str> {
    match VpsRef::typed(text) {
        _ if text.contains('@') => Err("leave out the `@`: `vps connect USER@VPS` names a login with it"),
        Ok(VpsRef::Name(name)) if name == text && text.trim() == text => Ok(name),
        Ok(VpsRef::Name(_)) => Err("leave out blanks around it and `.kohakuriver` behind it"),
        Ok(VpsRef::Id(_)) | Err(TargetError::IdTooLarge(_)) => Err("commands would read it as a task id"),
        Err(_) => Err("give a text on one line that does not begin with `-`"),
    }
}

/// `node`, `node:1`, `node::0,2` or `node:1::0,2`.
fn placement(text: &str) -> Result<Placement, &'static str> {
    const WRONG: &str = "write it as NODE, NODE:NUMA, NODE::GPU,GPU or NODE:NUMA::GPU,GPU";
    let (place, gpus) = match text.split_once("::") {
        Some((place, gpus)) => (place, Some(gpus)),
        None => (text, None),
    };
    let (node, numa) = match place.split_once(':') {
        Some((node, numa)) => (node, Some(number(numa).ok_or(WRONG)?)),
        None => (place, None),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if node.is_empty() || !node.chars().all(fits) {
        return Err(WRONG);
    }
    let gpus = gpus.map_or(Some(Vec::new()), |gpus| gpus.split(',').map(number).collect());
    Ok(Placement { node: node.to_owned(), numa, gpus: gpus.ok_or(WRONG)? })
}

fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A number of bytes, with an optional unit K, M, G or T (powers of 1024) that may end with `B` or `iB`.
fn bytes(text: &str) -> Result<u64, &'static str> {
    const WRONG: &str = "give a size above 0, for example 512M or 16G";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.to_ascii_uppercase();
    let shift = match unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit) {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(WRONG),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    // The Host stores it as a signed integer.
    bytes.filter(|&bytes| bytes > 0 && bytes <= i64::MAX as u64).ok_or(WRONG)
}

/// Like [`bytes`], with a unit: a number alone means megabytes to the Python CLI, and bytes elsewhere.
fn machine_memory(text: &str) -> Result<u64, &'static str> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("add the unit, for example 8192M or 8G");
    }
    bytes(text)
}

/// A size in the form of qemu's tools.
fn disk_size(text: &str) -> Result<String, &'static str> {
    let (number, unit) = text.split_at(text.len() - usize::from(text.ends_with(['M', 'G', 'T'])));
    let fits = unit.len() == 1 && number.parse::<u32>().is_ok_and(|number| number > 0) && !number.starts_with('+');
    if fits { Ok(text.to_owned()) } else { Err("give a size, for example 50G") }
}

fn mount(text: &str) -> Result<String, &'static str> {
    let parts: Vec<&str> = text.split(':').collect();
    let folders = parts.len() >= 2 && parts[..2].iter().all(|part| part.starts_with('/'));
    let options = parts.get(2).is_none_or(|options| matches!(*options, "ro" | "rw"));
    if folders && options && parts.len() <= 3 {
        Ok(text.to_owned())
    } else {
        Err("write it as /RUNNER/FOLDER:/VPS/FOLDER or /RUNNER/FOLDER:/VPS/FOLDER:ro")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of this command line.
    fn order(line: &str) -> Result<Order, Failure> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            flags: OrderFlags,
        }
        <Line as clap::Parser>::try_parse_from(line.split(' ')).unwrap().flags.order()
    }

    #[test]
    fn flags_of_the_other_backend_are_usage_errors() {
        for line in [
            "p --vm-memory 1G",
            "p --vm-image i",
            "p --backend docker --vm-disk-size 1G",
            "p --backend qemu --container c",
            "p --backend qemu --image i",
            "p --backend qemu --mount /a:/b",
            "p --backend qemu --privileged",
        ] {
            let failure = order(line).unwrap_err();
            assert_eq!(failure.exit_code(), 2.into(), "{line}");
        }
        assert_eq!(order("p").unwrap().machine, None);
        assert_eq!(order("p --backend qemu").unwrap().machine, Some(Machine::default()));
    }

    #[test]
    fn memory_of_a_virtual_machine_is_rounded_up_to_mebibytes() {
        for (size, mebibytes) in [("1K", 1), ("1M", 1), ("1025K", 2), ("8G", 8192)] {
            let machine = order(&format!("p --backend qemu --vm-memory {size}")).unwrap().machine.unwrap();
            assert_eq!(machine.memory_mib, Some(mebibytes), "{size}");
        }
    }

    #[test]
    fn targets_are_parsed() {
        let place = |node: &str, numa, gpus: &[u32]| Placement { node: node.into(), numa, gpus: gpus.to_vec() };
        for (text, expected) in [
            ("node1", place("node1", None, &[])),
            ("gpu-1.lab:0", place("gpu-1.lab", Some(0), &[])),
            ("node1::0,3", place("node1", None, &[0, 3])),
            ("node1:1::2", place("node1", Some(1), &[2])),
        ] {
            assert_eq!(placement(text), Ok(expected), "{text}");
        }
        for text in
            ["", ":0", "node1:", "node1:x", "node1::", "node1::x", "node1::0,", "node1:0:1", "a b", "n;id", "n:+1"]
        {
            assert!(placement(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_mounts_are_parsed() {
        for (text, expected) in [
            ("512M", 512 << 20),
            ("16G", 16 << 30),
            ("1GiB", 1 << 30),
            ("2gb", 2 << 30),
            ("4096", 4096),
            ("1T", 1 << 40),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "G", "-1G", "1.5G", "16X", "99999999T", "9223372036854775808"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert!(disk_size("50G").is_ok() && disk_size("512M").is_ok());
        for text in ["", "G", "50", "50g", "+5G", "0G", "5G;id"] {
            assert!(disk_size(text).is_err(), "{text}");
        }
        assert!(mount("/data:/data").is_ok() && mount("/data:/mnt/data:ro").is_ok());
        for text in ["", "/data", "data:/data", "/a:b", "/a:/b:exec", "/a:/b:ro:x"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_must_lead_to_its_vps() {
        for text in ["trainer", "my trainer", "a:b", "100%", "größe", "#1", "7x", &"ä".repeat(200)] {
            assert_eq!(name(text).as_deref(), Ok(text));
        }
        for (text, why) in [
            ("42", "task id"),
            ("kohakuriver-7", "task id"),
            ("99999999999999999999", "task id"),
            ("x.kohakuriver", "leave out"),
            (" x", "leave out"),
            ("", "on one line"),
            ("-x", "on one line"),
            ("a\nb", "on one line"),
            ("a@b", "names a login"),
        ] {
            assert!(name(text).is_err_and(|said| said.contains(why)), "{text}");
        }
    }
}
