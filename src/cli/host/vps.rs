//! The parts of a VPS's record that several commands read.

use crate::api::Vps;
use crate::status::VpsStatus;

/// The port of the VPS's sshd. Before a VPS runs, the Host reports a placeholder; after its end, the old port.
pub(crate) fn ssh_port(vps: &Vps) -> Option<u16> {
    let is_up = matches!(vps.status, VpsStatus::Running | VpsStatus::Paused);
    vps.ssh_port.number().filter(|_| is_up)
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::api::SshPort;
    use crate::target::TaskId;

    /// A VPS with the name `trainer`.
    pub(crate) fn vps(status: VpsStatus) -> Vps {
        Vps {
            id: TaskId::parse("7323718749301768192").unwrap(),
            name: Some("trainer".into()),
            is_vps: true,
            status,
            node: Some("node1".into()),
            ssh_port: SshPort::At(32768),
            backend: None,
            owner: Some("alice".into()),
            submitted_at: Some("2026-11-23T12:05:53.5".into()),
            started_at: None,
            error_message: None,
            rejection_reason: None,
            json: Value::Null,
        }
    }

    #[test]
    fn only_a_running_or_paused_vps_has_an_ssh_port() {
        for (status, port) in [
            (VpsStatus::Running, Some(32768)),
            (VpsStatus::Paused, Some(32768)),
            (VpsStatus::Pending, None),
            (VpsStatus::Assigning, None),
            (VpsStatus::Stopped, None),
            (VpsStatus::Failed, None),
            (VpsStatus::Lost, None),
        ] {
            assert_eq!(ssh_port(&vps(status.clone())), port, "{status}");
        }
        assert_eq!(ssh_port(&Vps { ssh_port: SshPort::None, ..vps(VpsStatus::Running) }), None);
    }
}
