//! Every check, in order: what it needs, what it gives, and what later checks say when it gave nothing.
//!
//! A check that gives nothing to others is one line. For one that does, `ok_or` holds the reason why later checks are
//! skipped without it.

mod host_api;
mod host_key;
mod host_name;
mod keys;
mod login;
mod own_ssh;
mod programs;
mod settings;
mod shell;
mod speed;
mod ssh_files;
mod ssh_proxy;
mod token;
mod tunnel;
mod vps;

use super::check::Missing;
use super::checkup::Checkup;
use super::subject::Subject;
use crate::failure::Failure;
use crate::sys;
use crate::target::VpsRef;

/// Runs the checks. Returns the VPS's task id, or what was typed when the id is unknown.
///
/// # Errors
/// The errors of the checkup's listener.
pub(super) fn run(subject: &Subject, checkup: &mut Checkup<'_>) -> Result<String, Failure> {
    let settings = &checkup.check(&settings::InForce { subject })?.ok_or(Missing("there are no settings"));
    let ssh = &checkup.check(&programs::Ssh)?.ok_or(Missing("there is no ssh"));
    let route = &checkup.check(&programs::Helper { subject, settings, ssh })?.ok_or(Missing("there is no helper"));
    checkup.check(&programs::Kohakuriver)?;
    let config = &checkup.check(&ssh_files::SshConfig { subject, ssh })?.ok_or(Missing("ssh refuses your ssh_config"));
    // ssh starts the helper without a shell elsewhere.
    if sys::SSH_NEEDS_A_SHELL {
        checkup.check(&shell::Shell { subject, route, config })?;
    }
    checkup.check(&ssh_files::SshFolder { subject, settings })?;
    checkup.check(&host_name::HostName { settings })?;
    let host = &checkup.check(&host_api::HostApi { settings })?.ok_or(Missing("the Host API does not answer"));
    let token = &checkup.check(&token::StoredToken::load(settings, host))?.flatten();
    let socket = &checkup.check(&ssh_proxy::Port { settings })?.ok_or(Missing("its port does not accept connections"));
    let proxy = &checkup.check(&ssh_proxy::Protocol { settings, socket })?.ok_or(Missing("no SSH proxy answers"));

    let vps = vps::Described { subject, settings, host, token };
    let vps = &checkup.check(&vps)?.ok_or(Missing("the Host does not describe the VPS"));
    let id = match (vps, &subject.vps) {
        (Ok(found), _) => Ok(found.vps.id),
        (Err(_), Some(VpsRef::Id(id))) => Ok(*id),
        (Err(missing), _) => Err(*missing),
    };
    let name = &id.map_or_else(|_| subject.vps_as_typed(), |id| id.to_string());
    let reach = &checkup.check(&vps::Runner { settings, vps })?.ok_or(Missing("the VPS has no known address"));
    let tunnel = tunnel::Tunnel { settings, name, proxy, reach, route };
    let tunnel = &checkup.check(&tunnel)?.ok_or(Missing("no tunnel is open"));
    let banner = &checkup.check(&tunnel::SshServer { name, tunnel })?.ok_or(Missing("no sshd has answered"));
    let session = host_key::HostKey { subject, settings, name, id, banner, ssh, route, config };
    let session = &checkup.check(&session)?.ok_or(Missing("the host key is not verified"));
    let keys = &checkup.check(&keys::Keys::of(subject, id, ssh))?.ok_or(Missing("there is no key that ssh can use"));
    let login = login::Login { subject, name, session, keys, config };
    let login = &checkup.check(&login)?.ok_or(Missing("no login works"));
    checkup.login_works = login.is_ok();
    if checkup.measures() {
        checkup.check(&speed::RoundTrip { name, login, session })?;
        checkup.check(&speed::Throughput { name, login, session })?;
    }
    checkup.check(&own_ssh::OwnSsh { subject, settings, ssh, route, id, name, config, session, login })?;
    Ok(name.clone())
}
