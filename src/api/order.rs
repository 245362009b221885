//! The settings of a new VPS, and the request for it in the form of each generation of Hosts.

use serde_json::{Value, json};

use crate::text::without_nulls;

/// The settings of a new VPS. The Host chooses those that are left out.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Its name.
    pub name: Option<String>,
    /// CPU cores; 0 reserves none.
    pub cores: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// The Runner, and the parts of it to use.
    pub target: Option<Placement>,
    /// The environment of the Host that it starts from.
    pub container: Option<String>,
    /// The registry image that it starts from.
    pub image: Option<String>,
    /// The users that may log in.
    pub access: Access,
    /// The virtual machine; `None` for a container.
    pub machine: Option<Machine>,
    /// Folders of the Runner, as `source:target[:options]`.
    pub mounts: Vec<String>,
    /// Run without the isolation of a container.
    pub privileged: bool,
}

/// The place to run a VPS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The Runner's host name.
    pub node: String,
    /// Its NUMA node.
    pub numa: Option<u32>,
    /// Its GPUs, by number.
    pub gpus: Vec<u32>,
}

/// The users that may log in with ssh.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Nobody: the VPS has no sshd, only the Host's web terminals.
    #[default]
    Terminals,
    /// Everybody, as root.
    Everybody,
    /// The owner of this key, which is a line of `authorized_keys`.
    Key(String),
}

/// The settings of a virtual machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// The name of its image on the Host.
    pub image: Option<String>,
    /// The size of its disk, such as `50G`.
    pub disk_size: Option<String>,
    /// Its memory in MiB.
    pub memory_mib: Option<u64>,
}

/// A setting that the Host's API has no field for, and what to do instead.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Unsupported {
    pub(super) what: &'static str,
    pub(super) hint: &'static str,
}

impl Order {
    /// The body of today's `POST /vps/create`, or the setting that it has no field for.
    pub(super) fn for_todays_host(&self) -> Result<Value, Unsupported> {
        let hint = "leave it out; the administrator of the Host can set it for all VPSes";
        for (given, what) in [(self.privileged, "--privileged"), (!self.mounts.is_empty(), "--mount")] {
            if given {
                return Err(Unsupported { what, hint });
            }
        }
        let (mode, key) = match &self.access {
            Access::Terminals => ("disabled", None),
            Access::Everybody => ("none", None),
            Access::Key(key) => ("upload", Some(key)),
        };
        let (target, machine) = (self.target.as_ref(), self.machine.clone().unwrap_or_default());
        Ok(without_nulls(json!({
            "ssh_key_mode": mode,
            "ssh_public_key": key,
            "name": self.name,
            "required_cores": self.cores,
            "required_memory_bytes": self.memory_bytes,
            "container_name": self.container,
            "registry_image": self.image,
            "target_hostname": target.map(|target| &target.node),
            "target_numa_node_id": target.and_then(|target| target.numa),
            "required_gpus": self.gpus(),
            "vps_backend": if self.machine.is_some() { "qemu" } else { "docker" },
            "vm_image": machine.image,
            "vm_disk_size": machine.disk_size,
            "memory_mb": machine.memory_mib,
        })))
    }

    /// The body of the older generation's `POST /submit`, or the setting that it has no field for.
    pub(super) fn for_older_host(&self) -> Result<Value, Unsupported> {
        let Access::Key(key) = &self.access else {
            return Err(Unsupported { what: "a VPS without a key", hint: "add `--gen-ssh-key`" });
        };
        let hint = "leave it out, or ask the administrator to upgrade the Host to KohakuRiver";
        for (given, what) in [
            (self.name.is_some(), "--name"),
            (self.image.is_some(), "--image"),
            (self.machine.is_some(), "--backend qemu"),
        ] {
            if given {
                return Err(Unsupported { what, hint });
            }
        }
        let place = |target: &Placement| match target.numa {
            Some(numa) => format!("{}:{numa}", target.node),
            None => target.node.clone(),
        };
        Ok(without_nulls(json!({
            "task_type": "vps",
            "command": key,
            "targets": self.target.as_ref().map(|target| [place(target)]),
            "required_gpus": self.gpus().map(|gpus| [gpus]),
            "required_cores": self.cores,
            "required_memory_bytes": self.memory_bytes,
            "container_name": self.container,
            "privileged": self.privileged.then_some(true),
            "additional_mounts": Some(&self.mounts).filter(|mounts| !mounts.is_empty()),
        })))
    }

    /// The numbers of its GPUs; `None` without one.
    fn gpus(&self) -> Option<&[u32]> {
        self.target.as_ref().map(|target| target.gpus.as_slice()).filter(|gpus| !gpus.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Order {
        Order {
            name: Some("trainer".into()),
            cores: Some(4),
            memory_bytes: Some(1 << 30),
            target: Some(Placement { node: "node1".into(), numa: Some(1), gpus: vec![0, 2] }),
            container: Some("base".into()),
            image: Some("ubuntu:24.04".into()),
            access: Access::Key("ssh-ed25519 AAAA".into()),
            machine: Some(Machine {
                image: Some("ubuntu-24.04".into()),
                disk_size: Some("20G".into()),
                memory_mib: Some(2048),
            }),
            ..Order::default()
        }
    }

    #[test]
    fn todays_host() {
        assert_eq!(
            full().for_todays_host(),
            Ok(json!({
                "ssh_key_mode": "upload", "ssh_public_key": "ssh-ed25519 AAAA", "name": "trainer",
                "required_cores": 4, "required_memory_bytes": 1_073_741_824, "container_name": "base",
                "registry_image": "ubuntu:24.04", "target_hostname": "node1", "target_numa_node_id": 1,
                "required_gpus": [0, 2], "vps_backend": "qemu", "vm_image": "ubuntu-24.04", "vm_disk_size": "20G",
                "memory_mb": 2048,
            }))
        );
        for (access, mode) in [(Access::Terminals, "disabled"), (Access::Everybody, "none")] {
            let body = Order { access, ..Order::default() }.for_todays_host();
            assert_eq!(body, Ok(json!({ "ssh_key_mode": mode, "vps_backend": "docker" })));
        }
        for (order, what) in [
            (Order { privileged: true, ..full() }, "--privileged"),
            (Order { mounts: vec!["/a:/b".into()], ..full() }, "--mount"),
        ] {
            assert_eq!(order.for_todays_host().unwrap_err().what, what);
        }
    }

    #[test]
    fn the_older_host() {
        let order = Order {
            name: None,
            image: None,
            machine: None,
            mounts: vec!["/data:/data:ro".into()],
            privileged: true,
            ..full()
        };
        assert_eq!(
            order.for_older_host(),
            Ok(json!({
                "task_type": "vps", "command": "ssh-ed25519 AAAA", "targets": ["node1:1"], "required_gpus": [[0, 2]],
                "required_cores": 4, "required_memory_bytes": 1_073_741_824, "container_name": "base",
                "privileged": true, "additional_mounts": ["/data:/data:ro"],
            }))
        );
        for (order, what) in [
            (Order { name: Some("n".into()), ..order.clone() }, "--name"),
            (Order { image: Some("i".into()), ..order.clone() }, "--image"),
            (Order { machine: Some(Machine::default()), ..order.clone() }, "--backend qemu"),
        ] {
            assert_eq!(order.for_older_host().unwrap_err().what, what);
        }
        for access in [Access::Terminals, Access::Everybody] {
            assert!(Order { access, ..order.clone() }.for_older_host().unwrap_err().hint.contains("--gen-ssh-key"));
        }
    }
}
