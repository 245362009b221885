//! `kohakuriver vps create`: a new VPS, and a key to log in with.
//!
//! A key pair is generated on this machine, and only the public half is sent. If the Host refuses, the new key is
//! removed. If it is unknown whether the Host got the request, the key stays, and the message names its file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::api::{Access, ApiError, Client, Created, Generation, Located, Order, Vps, refused};
use crate::cli::host::denied::denied;
use crate::cli::host::{ask_host, block_on, client, named};
use crate::cli::programs::route::home;
use crate::cli::ssh::config as ssh_config;
use crate::cli::terminal::ask::confirm;
use crate::cli::terminal::{interrupt, ui};
use crate::cli::vps::connect;
use crate::cli::vps::shared::change::Change;
use crate::cli::vps::shared::new_key::{NewKey, NewKeyPlace, read_public_key};
use crate::cli::vps::shared::order_flags::OrderFlags;
use crate::cli::vps::shared::wait::{DEFAULT_WAIT, until_ssh_answers};
use crate::cluster::InMessages;
use crate::failure::Failure;
use crate::seconds;
use crate::settings::{Flags, Settings};
use crate::ssh::authorized_key;
use crate::ssh::keys::{KeyNames, expand_home};
use crate::ssh::quote::shell_line;
use crate::status::VpsStatus;
use crate::target::{TaskId, VpsRef};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Without a login option the VPS has no sshd and can only be used through the Host's terminals.

The JSON has the keys task_id (a string), name, status, assigned_node, ssh_key_mode (disabled, none or upload), key_file \
(the generated private key), message (from the Host) and error_message (why it failed). A missing value is null.

Examples:
  kohakuriver vps create --gen-ssh-key --connect
  kohakuriver vps create -t gpu-1::0,1 -m 64G --gen-ssh-key --wait
  kohakuriver vps create --backend qemu --vm-memory 8G --gen-ssh-key")]
pub(crate) struct Arguments {
    #[command(flatten)]
    order: OrderFlags,
    /// Wait until its sshd answers, for at most SECONDS (300 if omitted)
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = DEFAULT_WAIT,
          value_parser = seconds::parse)]
    wait: Option<Duration>,
    /// Wait, then log in
    #[arg(long, conflicts_with = "json")]
    connect: bool,
    /// Don't ask before a second VPS of the same name is created
    #[arg(long, short = 'y')]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The Python CLI's flag: a key pair is generated if no other login option is given
    #[arg(long, hide = true)]
    ssh: bool,
    /// With --gen-ssh-key, write the private key to this new file
    #[arg(long, value_name = "FILE")]
    key_out_file: Option<PathBuf>,
    // Last: its heading would also apply to the options after it.
    #[command(flatten)]
    key: KeyFlags,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Login options (at most one)")]
#[group(multiple = false)]
struct KeyFlags {
    /// Generate a key pair, ~/.ssh/id-kohakuriver-<id>, and send its public half
    #[arg(long)]
    gen_ssh_key: bool,
    /// Send the public key in this file
    #[arg(long, value_name = "FILE")]
    public_key_file: Option<PathBuf>,
    /// Send this public key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    public_key_string: Option<String>,
    /// Let everybody log in as root, without a key or a password
    #[arg(long)]
    no_ssh_key: bool,
}

/// How long `--connect` waits.
const CONNECT_WAIT: Duration = Duration::from_secs(300);

pub(crate) fn run(flags: &Flags, settings: &Settings, arguments: Arguments) -> Result<(), Failure> {
    let home = home()?;
    let mut order = arguments.order.order()?;
    let wait = arguments.wait.or(arguments.connect.then_some(CONNECT_WAIT));
    order.access = arguments.key.given(&home)?;
    let is_generated = arguments.key.gen_ssh_key || arguments.ssh && order.access == Access::Terminals;
    let in_home = |file: &Path| expand_home(file, Some(&home));
    let key_out_file = arguments.key_out_file.as_deref().map(in_home);
    let names = KeyNames::of(&settings.cluster, settings.has_plain_keys());
    let new_key = is_generated.then_some(NewKeyPlace { home: &home, file: key_out_file.as_deref(), names: &names });
    if key_out_file.is_some() && !is_generated {
        return Err(Failure::usage("--key-out-file is for a generated key only").hint("add `--gen-ssh-key`"));
    }
    if wait.is_some() && order.access == Access::Terminals && !is_generated {
        return Err(
            Failure::usage("cannot wait for SSH: a VPS without a login option has no sshd").hint("add `--gen-ssh-key`")
        );
    }
    if order.access == Access::Everybody {
        ui::remark(
            "warning: everybody who can reach the Host's SSH proxy or the Runner can log in as root, without a key or a \
             password",
        );
    }
    let client = client(settings)?;
    // First, so that no key is generated for a Host that doesn't answer.
    let (generation, twin) = ask_host(settings, before(&client, order.name.as_deref()))?;
    if let Some(twin) = twin {
        let question = format!("VPS {} has this name already. Create another one?", named(&twin));
        let because = |failure: Failure| failure.cause(format!("VPS {} has this name already", named(&twin)));
        confirm(&question, arguments.yes).map_err(because)?;
    }
    let (created, key) = create(&client, generation, &mut order, new_key)?;
    show(settings, &client, &order, &created, key.as_deref(), arguments.json)?;
    ssh_config::follow(settings);
    if let Some(limit) = wait {
        block_on(until_ssh_answers(settings, &client, created.id, limit))?;
        if !arguments.connect {
            let command = connect_command(settings, created.id, key.as_deref(), false);
            ui::remark(&format!("VPS {} answers: `{command}`", created.id));
        }
    }
    if arguments.connect {
        let private = || arguments.key.public_key_file.and_then(|public| private_half(&in_home(&public)));
        return Err(connect::enter(flags, created.id, key.or_else(private)));
    }
    Ok(())
}

/// The generation of calls by which this Host creates a VPS, and a VPS of the user that already has the name.
async fn before(client: &Client, name: Option<&str>) -> Result<(Generation, Option<Vps>), Failure> {
    let cannot = |error: ApiError| denied(&error, "create the VPS", None);
    let generation = client.generation().await.map_err(cannot)?;
    let Some(name) = name.filter(|_| generation == Generation::Todays) else { return Ok((generation, None)) };
    let user = client.user().await.map_err(cannot)?;
    let list = client.list(false).await.map_err(cannot)?;
    let is_twin = |vps: &Vps| {
        let is_mine = user.as_ref().is_none_or(|user| vps.belongs_to(&user.name));
        // ssh doesn't tell names apart that differ in case only.
        is_mine && vps.is_vps && vps.name.as_ref().is_some_and(|other| other.to_lowercase() == name.to_lowercase())
    };
    Ok((generation, list.entries.into_iter().find(is_twin)))
}

/// Creates the VPS. With `new_key`, a key is generated there; its file is returned.
fn create(
    client: &Client,
    generation: Generation,
    order: &mut Order,
    new_key: Option<NewKeyPlace<'_>>,
) -> Result<(Created, Option<PathBuf>), Failure> {
    let mut key = None;
    let created = block_on(async {
        let request = request(client, generation, order, new_key, &mut key);
        let created = interrupt::unless_raised(request).await;
        created.unwrap_or_else(|| Err(change(key.as_ref()).abandoned()))
    })?;
    let Some(mut key) = key else { return Ok((created, None)) };
    let (path, renamed) = key.assign_to(created.id);
    if let Err(failure) = renamed {
        ui::remark(failure.render("warning").trim_end());
    }
    Ok((created, Some(path)))
}

/// Shows the new VPS, with its state if the Host answers.
fn show(
    settings: &Settings,
    client: &Client,
    order: &Order,
    created: &Created,
    key: Option<&Path>,
    json: bool,
) -> Result<(), Failure> {
    // A failure here only costs status and node in the output: the VPS exists.
    let id = VpsRef::Id(created.id);
    let looked = ask_host(settings, async { Ok(interrupt::unless_raised(client.find(&id, None)).await) })?;
    let interrupted = looked.is_none();
    let found = looked.and_then(Result::ok);
    report(settings, order, created, found.as_ref().map(|found| &found.vps), key, json)?;
    // Its Runner may have failed to start it.
    if let Some(Located { vps: Vps { status, .. }, reach: Err(refusal), .. }) = &found
        && status.is_final()
    {
        return Err(refused(refusal, &created.id.to_string(), client.base()));
    }
    if interrupted {
        return Err(Failure::interrupted(format!("interrupted while VPS {} starts", created.id))
            .cause("the VPS was created and continues to start")
            .hint(format!("see its state with `kohakuriver vps status {}`", created.id)));
    }
    Ok(())
}

/// Sends the order. With `new_key`, a key is generated first and kept in `key`.
async fn request(
    client: &Client,
    generation: Generation,
    order: &mut Order,
    new_key: Option<NewKeyPlace<'_>>,
    key: &mut Option<NewKey>,
) -> Result<Created, Failure> {
    if let Some(place) = new_key {
        let made = key.insert(NewKey::generate(place)?);
        order.access = Access::Key(made.public_half()?);
        made.keep();
    }
    let change = change(key.as_ref());
    let created = change.with_progress(client.create(generation, order)).await;
    created.map_err(|error| {
        if error.had_no_effect() {
            key.iter_mut().for_each(NewKey::discard);
        }
        change.failed(&error)
    })
}

/// The change, for messages, with the key that was generated for it.
fn change(key: Option<&NewKey>) -> Change {
    let list = "see whether it exists with `kohakuriver vps list`";
    let look = match key.and_then(NewKey::kept) {
        Some(path) => format!("{list}; its key is {}", path.display()),
        None => list.to_owned(),
    };
    Change { what: "create the VPS".to_owned(), vps: None, look }
}

impl KeyFlags {
    /// The access that the flags give; a key that is still to be generated is filled in later.
    fn given(&self, home: &Path) -> Result<Access, Failure> {
        if let Some(path) = &self.public_key_file {
            return read_public_key(&expand_home(path, Some(home))).map(Access::Key);
        }
        if let Some(text) = &self.public_key_string {
            let checked = authorized_key::check(text).map_err(|error| {
                Failure::usage("cannot use the key in --public-key-string").because(&error).maybe_hint(error.hint())
            });
            return checked.map(Access::Key);
        }
        Ok(if self.no_ssh_key { Access::Everybody } else { Access::Terminals })
    }
}

/// The private key beside a public key's file, if it is there.
fn private_half(public: &Path) -> Option<PathBuf> {
    let private = public.with_extension("");
    (public.extension().is_some_and(|extension| extension == "pub") && private.is_file()).then_some(private)
}

/// The command to log in. Only a key with another name than the usual one has to be named.
fn connect_command(settings: &Settings, id: TaskId, key: Option<&Path>, waits: bool) -> String {
    let usual = KeyNames::of(&settings.cluster, settings.has_plain_keys()).new_key(id);
    let id = id.to_string();
    let mut words: Vec<&OsStr> = ["kohakuriver", "vps", "connect", &id].map(OsStr::new).into();
    words.extend(waits.then_some(OsStr::new("--wait")));
    let is_found = |key: &Path| key.file_name().is_some_and(|name| name == &*usual);
    if let Some(key) = key.filter(|key| !is_found(key)) {
        words.extend([OsStr::new("--key"), key.as_os_str()]);
    }
    InMessages::get().hint(&shell_line(words).to_string_lossy())
}

fn report(
    settings: &Settings,
    order: &Order,
    created: &Created,
    vps: Option<&Vps>,
    key: Option<&Path>,
    as_json: bool,
) -> Result<(), Failure> {
    let (mode, access) = match (&order.access, key) {
        (Access::Terminals, _) => ("disabled", "none: use the Host's terminals".to_owned()),
        (Access::Everybody, _) => ("none", "everybody, as root, without a key".to_owned()),
        (Access::Key(_), Some(key)) => ("upload", format!("with the key {}", key.display())),
        (Access::Key(_), None) => ("upload", "with the given key".to_owned()),
    };
    let status = vps.map(|vps| &vps.status);
    let node = vps.and_then(|vps| vps.node.clone()).or_else(|| created.node.clone());
    let reason = vps.and_then(Vps::message);
    if as_json {
        return ui::print(&ui::json(&json!({
            "task_id": created.id.to_string(),
            "name": order.name,
            "status": status.map(VpsStatus::as_str),
            "assigned_node": node,
            "ssh_key_mode": mode,
            "key_file": key.map(|key| key.display().to_string()),
            "message": created.message,
            "error_message": reason,
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
    fields.extend(reason.map(|reason| ("Reason", reason.to_owned())));
    if order.access != Access::Terminals && !status.is_some_and(VpsStatus::is_final) {
        fields.push(("Connect", connect_command(settings, created.id, key, true)));
    }
    ui::print(&ui::fields(&fields))
}
