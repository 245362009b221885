//! `kohakuriver vps create`: a new VPS, and a way into it.
//!
//! A key is made on this machine and only its public half is sent. When the request fails, a key that was made for it is
//! taken away again; when nobody knows whether the Host has heard it, the key stays, and it is said where it lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::denied::denied;
use super::new_key::{NewKey, read_public_key};
use super::order_flags::OrderFlags;
use super::route::home;
use super::wait::{DEFAULT_WAIT, until_ssh_answers};
use super::{block_on, client, connect, interrupt, progress, ssh_config, ui};
use crate::api::{Access, ApiError, Client, Created, Order, Vps};
use crate::failure::Failure;
use crate::seconds;
use crate::settings::Settings;
use crate::ssh::authorized_key;
use crate::status::VpsStatus;
use crate::target::VpsRef;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Where nothing is said of who may log in, the VPS has no sshd: it is reached by the Host's terminals only.

  kohakuriver vps create --gen-ssh-key --connect
  kohakuriver vps create -t gpu-1::0,1 -m 64G --gen-ssh-key --wait
  kohakuriver vps create --backend qemu --vm-memory 8G --gen-ssh-key

The JSON has the keys task_id (a string), name, status, assigned_node, ssh_key_mode (disabled, none or upload), key_file \
(the private key that was made) and message (the Host's); null stands where there is no value.")]
pub(super) struct Arguments {
    #[command(flatten)]
    order: OrderFlags,
    /// Wait until its sshd answers, for 300 seconds unless told otherwise
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_WAIT,
          value_parser = seconds::parse)]
    wait: Option<Duration>,
    /// Wait, then log in
    #[arg(long, conflicts_with = "json")]
    connect: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    // Last, since its heading would be that of what follows.
    #[command(flatten)]
    key: KeyFlags,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Who may log in, one of")]
#[group(multiple = false)]
struct KeyFlags {
    /// Make a key pair here, ~/.ssh/id-kohakuriver-<id>, and send its public half
    #[arg(long)]
    gen_ssh_key: bool,
    /// Send the public key in this file
    #[arg(long, value_name = "FILE")]
    public_key_file: Option<PathBuf>,
    /// Send this public key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    public_key_string: Option<String>,
    /// Let everybody in as root, without a key or a password
    #[arg(long)]
    no_ssh_key: bool,
}

/// How long `--connect` waits.
const CONNECT_WAIT: Duration = Duration::from_secs(300);

pub(super) fn run(settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
    let home = home()?;
    let mut order = arguments.order.order()?;
    let wait = arguments.wait.or(arguments.connect.then_some(CONNECT_WAIT));
    order.access = arguments.key.given(&home)?;
    if wait.is_some() && order.access == Access::Terminals && !arguments.key.gen_ssh_key {
        return Err(Failure::usage("a VPS without a key has no SSH to wait for").hint("add `--gen-ssh-key`"));
    }
    if order.access == Access::Everybody {
        ui::remark(
            "warning: everybody who reaches the Host's SSH proxy or the Runner will be able to log in as root, without \
             a key or a password",
        );
    }
    let client = client(settings)?;
    let mut key = None;
    let created = block_on(async {
        tokio::select! {
            biased;
            () = interrupt::raised() => Err(None),
            created = create(&client, &mut order, arguments.key.gen_ssh_key, &home, &mut key) => created.map_err(Some),
        }
        .map_err(|failure| stopped(failure, key.as_ref()))
    })?;
    let moved = key.as_mut().map(|key| key.belongs_to(created.id));
    let key_file = moved.as_ref().map(|(path, _)| path.as_path());
    // What it adds is not worth a failure: the VPS is there.
    let vps = block_on(async { Ok(client.vps(&VpsRef::Id(created.id)).await.ok()) })?;
    tell(&order, &created, vps.as_ref(), key_file, arguments.json)?;
    if let Some((_, Err(failure))) = &moved {
        ui::remark(failure.render("warning").trim_end());
    }
    ssh_config::follow(settings);
    if let Some(limit) = wait {
        block_on(until_ssh_answers(settings, &client, created.id, limit))?;
        if !arguments.connect {
            ui::remark(&format!("VPS {} answers: `kohakuriver vps connect {}`", created.id, created.id));
        }
    }
    if arguments.connect {
        let private = arguments.key.public_key_file.as_deref().and_then(private_half);
        return connect::enter(settings, created.id, key_file.map(Path::to_owned).or(private));
    }
    Ok(())
}

/// Asks the Host. A key that is made for it is in `key` from then on.
async fn create(
    client: &Client,
    order: &mut Order,
    make_key: bool,
    home: &Path,
    key: &mut Option<NewKey>,
) -> Result<Created, Failure> {
    let failed = |error: &ApiError| denied(error, "cannot create the VPS", None);
    // Before a key is made for a Host that isn't there.
    client.is_older().await.map_err(|error| failed(&error))?;
    if make_key {
        let made = key.insert(NewKey::make(home)?);
        order.access = Access::Key(made.public_half()?);
        made.is_sent();
    }
    let created = progress::during("the Host and its Runner make the VPS", client.create(order)).await;
    created.map_err(|error| {
        if error.was_not_heard() {
            key.iter_mut().for_each(NewKey::is_not_sent);
            return failed(&error);
        }
        failed(&error).cause("whether the Host has made it nevertheless is unknown").hint(look(key.as_ref()))
    })
}

/// What is said when there is no answer: of the failure, or of none when the user has ended it.
fn stopped(failure: Option<Failure>, key: Option<&NewKey>) -> Failure {
    failure.unwrap_or_else(|| {
        let failure = Failure::interrupted("no longer waiting for the Host");
        match key.and_then(NewKey::kept) {
            None => failure.cause("the VPS may be made nevertheless"),
            Some(_) => failure.cause("the VPS may be made nevertheless, with the key that was made for it"),
        }
        .hint(look(key))
    })
}

fn look(key: Option<&NewKey>) -> String {
    let list = "see whether it is there with `kohakuriver vps list`";
    match key.and_then(NewKey::kept) {
        Some(path) => format!("{list}; its key is {}", path.display()),
        None => list.to_owned(),
    }
}

impl KeyFlags {
    /// Who may log in, as far as it is known before a key is made.
    fn given(&self, home: &Path) -> Result<Access, Failure> {
        if let Some(path) = &self.public_key_file {
            let path = path.strip_prefix("~").map_or_else(|_| path.clone(), |rest| home.join(rest));
            return read_public_key(&path).map(Access::Key);
        }
        if let Some(text) = &self.public_key_string {
            let checked = authorized_key::check(text).map_err(|error| {
                Failure::usage("cannot use the key of --public-key-string").because(&error).maybe_hint(error.hint())
            });
            return checked.map(Access::Key);
        }
        Ok(if self.no_ssh_key { Access::Everybody } else { Access::Terminals })
    }
}

/// The private key that belongs to a public one's file, where it lies beside it.
fn private_half(public: &Path) -> Option<PathBuf> {
    let private = public.with_extension("");
    (public.extension().is_some_and(|extension| extension == "pub") && private.is_file()).then_some(private)
}

fn tell(order: &Order, created: &Created, vps: Option<&Vps>, key: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let (mode, access) = match (&order.access, key) {
        (Access::Terminals, _) => ("disabled", "none: the Host's terminals only, since no key was named".to_owned()),
        (Access::Everybody, _) => ("none", "as root, without a key, for everybody".to_owned()),
        (Access::Key(_), Some(key)) => ("upload", format!("with the key {}", key.display())),
        (Access::Key(_), None) => ("upload", "with the key that was given".to_owned()),
    };
    let status = vps.map(|vps| &vps.status);
    let node = vps.and_then(|vps| vps.node.clone()).or_else(|| created.node.clone());
    if as_json {
        return ui::print(&ui::json(&json!({
            "task_id": created.id.to_string(),
            "name": order.name,
            "status": status.map(VpsStatus::as_str),
            "assigned_node": node,
            "ssh_key_mode": mode,
            "key_file": key.map(|key| key.display().to_string()),
            "message": created.message,
        })));
    }
    let mut fields = vec![
        ("Task ID", created.id.to_string()),
        ("Name", order.name.clone().unwrap_or_default()),
        ("Status", status.map(VpsStatus::to_string).unwrap_or_default()),
        ("Node", node.unwrap_or_default()),
        ("SSH", access),
        ("Message", created.message.clone()),
    ];
    if order.access != Access::Terminals {
        fields.push(("Connect", format!("kohakuriver vps connect {} --wait", created.id)));
    }
    ui::print(&ui::fields(&fields))
}
