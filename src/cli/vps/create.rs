//! `kohakuriver vps create`: a new VPS, and a way into it.
//!
//! A key is made on this machine and only its public half is sent. When the request fails, a key that was made for it
//! is taken away again; when nobody knows whether the Host has heard it, the key stays, and it is said where it lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::api::{Access, Client, Created, Generation, Order, Vps};
use crate::cli::host::denied::denied;
use crate::cli::host::{ask_host, block_on, client};
use crate::cli::programs::route::home;
use crate::cli::ssh::config as ssh_config;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::ui;
use crate::cli::vps::change::Change;
use crate::cli::vps::connect;
use crate::cli::vps::new_key::{NewKey, read_public_key};
use crate::cli::vps::order_flags::OrderFlags;
use crate::cli::vps::wait::{DEFAULT_WAIT, until_ssh_answers};
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
pub(crate) struct Arguments {
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

pub(crate) fn run(settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
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
    // Before a key is made for a Host that isn't there.
    let generation = ask_host(settings, async {
        client.generation().await.map_err(|error| denied(&error, "cannot create the VPS", None))
    })?;
    let mut key = None;
    let created = block_on(async {
        let request = create(&client, generation, &mut order, arguments.key.gen_ssh_key.then_some(&*home), &mut key);
        let created = interrupt::unless_raised(request).await;
        created.unwrap_or_else(|| Err(change(key.as_ref()).abandoned()))
    })?;
    let moved = key.as_mut().map(|key| key.belongs_to(created.id));
    let key_file = moved.as_ref().map(|(path, _)| path.as_path());
    // What it adds is not worth a failure: the VPS is there.
    let looked = ask_host(settings, async { Ok(interrupt::unless_raised(client.vps(&VpsRef::Id(created.id))).await) })?;
    let interrupted = looked.is_none();
    tell(&order, &created, looked.and_then(Result::ok).as_ref(), key_file, arguments.json)?;
    if let Some((_, Err(failure))) = &moved {
        ui::remark(failure.render("warning").trim_end());
    }
    if interrupted {
        return Err(Failure::interrupted(format!("no longer waiting for VPS {}", created.id))
            .cause("it is made, and goes on without us")
            .hint(format!("see how it is with `kohakuriver vps status {}`", created.id)));
    }
    ssh_config::follow(settings);
    if let Some(limit) = wait {
        block_on(until_ssh_answers(settings, &client, created.id, limit))?;
        if !arguments.connect {
            ui::remark(&format!("VPS {} answers: `kohakuriver vps connect {}`", created.id, created.id));
        }
    }
    if arguments.connect {
        let private = arguments.key.public_key_file.and_then(|public| private_half(&in_home(&public, &home)));
        return connect::enter(settings, created.id, key_file.map(Path::to_owned).or(private));
    }
    Ok(())
}

/// Asks the Host. A key that is made for it, below `key_home`, is in `key` from then on.
async fn create(
    client: &Client,
    generation: Generation,
    order: &mut Order,
    key_home: Option<&Path>,
    key: &mut Option<NewKey>,
) -> Result<Created, Failure> {
    if let Some(home) = key_home {
        let made = key.insert(NewKey::make(home)?);
        order.access = Access::Key(made.public_half()?);
        made.is_sent();
    }
    let change = change(key.as_ref());
    let created = change.waited_for(client.create(generation, order)).await;
    created.map_err(|error| {
        if error.was_not_heard() {
            key.iter_mut().for_each(NewKey::is_not_sent);
        }
        change.failed(&error)
    })
}

/// What the Host is asked, with the key that was made for it.
fn change(key: Option<&NewKey>) -> Change {
    let list = "see whether it is there with `kohakuriver vps list`";
    let look = match key.and_then(NewKey::kept) {
        Some(path) => format!("{list}; its key is {}", path.display()),
        None => list.to_owned(),
    };
    Change { what: "create the VPS".to_owned(), vps: None, look }
}

impl KeyFlags {
    /// Who may log in, as far as it is known before a key is made.
    fn given(&self, home: &Path) -> Result<Access, Failure> {
        if let Some(path) = &self.public_key_file {
            return read_public_key(&in_home(path, home)).map(Access::Key);
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

/// `path`, where `~` stands for `home`: a shell leaves it alone behind `--public-key-file=`.
fn in_home(path: &Path, home: &Path) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |rest| home.join(rest))
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
