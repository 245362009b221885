//! Whether the key that the VPS shows is the one that is known.

use super::Check;
use super::case::Case;
use super::finding::Verdict;
use super::session::Session;
use crate::cli::ssh::host_key as ssh_host_key;
use crate::failure::Failure;

pub(super) const CHECKS: &[Check] = &[Check { name: "host-key", of_vps: true, examine: host_key }];

fn host_key(case: &mut Case) -> (String, Verdict) {
    let tried = format!("the host key of VPS {} against ~/.ssh/kohakuriver_known_hosts", case.vps_name());
    let (Some(id), Some(Ok(_))) = (case.id(), &case.banner) else {
        return (tried, Verdict::Skipped("no sshd has spoken".to_owned()));
    };
    // The key's file is the next check's; one that can't be used is as good as none here.
    case.key = super::keys::resolve(case, id).ok().flatten();
    let session = Session::open(case, id);
    let list = "ls -l ~/.ssh";
    let session = match session {
        Ok(session) => session,
        Err(failure) => {
            let verdict = Verdict::wrong(&failure, list);
            case.session = Some(Err(failure));
            return (tried, verdict);
        }
    };
    let verdict = match &session.log.host_key {
        None => {
            let why = match session.log.status {
                None => "it took too long".to_owned(),
                Some(_) => session.log.last.clone(),
            };
            let failure = Failure::new(format!("ssh and VPS {id} did not get as far as its host key")).cause(why);
            let command = format!("kohakuriver vps connect {id} -- -v true");
            Verdict::wrong(&failure.hint(format!("see all that ssh says: `{command}`")), command)
        }
        Some((kind, print)) if session.known.is_empty() => {
            Verdict::Fine(format!("{kind} {print}; none is known yet, so the first connection stores it"))
        }
        Some((kind, print)) if session.known_prints.contains(print) => {
            Verdict::Fine(format!("{kind} {print} is known"))
        }
        Some((kind, print)) => match &case.settings {
            Some(settings) => {
                let failure = ssh_host_key::changed(settings, id, kind, &session.known);
                let failure =
                    failure.cause(format!("it showed {print}, and known is {}", session.known_prints.join(" ")));
                Verdict::wrong(&failure, format!("kohakuriver vps status {id}"))
            }
            None => Verdict::Skipped("there are no settings".to_owned()),
        },
    };
    case.host_key = matches!(verdict, Verdict::Fine(_));
    case.session = Some(Ok(session));
    (tried, verdict)
}
