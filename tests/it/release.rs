//! `contrib/release.sh`: what it makes, as its users see it.
//!
//! These tests and those of the package for Debian take a release that is there already from the folder that
//! RELEASE_ARTIFACTS names.

use std::collections::{BTreeSet, HashSet};
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::debian::{Debian, told_to_start};
use crate::support::gateway::{inventory, running};
use crate::support::home::{Home, set_mode};
use crate::support::peers::echo_server;
use crate::support::release::{
    architecture, archive, arm64_runs, artifact, artifacts, files, made, make, unpacked, web_server,
};
use crate::support::run::Run;
use crate::support::scene::ID;
use crate::support::tools::{not_tested, sha256, tool};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const PROGRAMS: [&str; 3] = ["kohakuriver", "kohakuriver-gateway", "kohakuriver-proxy"];
/// Where documents are in an archive for Linux, and below `/usr`.
const DOCUMENTS: &str = "share/doc/kohakuriver-proxy";

/// The programs in this folder are those that were packed.
fn check_programs(folder: &Path, home: &Home) {
    for program in PROGRAMS {
        let run = Run::new(folder.join(program), home).arg("--version").output();
        run.succeeds().prints(&format!("{program} {VERSION}\n"));
    }
}

/// Each file that a document names is packed as well.
pub(crate) fn check_documents(folder: &Path) {
    let documents =
        files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut links = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let named = ["](", "src=\"", "srcset=\""].into_iter().flat_map(|start| text.split(start).skip(1));
        let named = named.map(|rest| rest.split([')', '#', '"']).next().unwrap());
        let named = named.filter(|link| !link.is_empty() && !link.starts_with("https://"));
        links.extend(named.map(|link| document.with_file_name(link)));
    }
    assert!(links.len() > 40, "{links:?}");
    links.retain(|path| !path.is_file() && !path.join("README.md").is_file());
    assert!(links.is_empty(), "{links:?}");
}

/// The files below a folder, by their names there.
fn names(folder: &Path) -> BTreeSet<PathBuf> {
    files(folder).iter().map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect()
}

#[test]
fn the_archive_for_windows_holds_what_windows_can_use() {
    let home = Home::new();
    let folder = unpacked("x86_64-pc-windows-gnu", &home);
    check_documents(&folder);
    let mut expected = names(&unpacked(&format!("{ARCH}-unknown-linux-gnu"), &home).join(DOCUMENTS));
    for program in ["kohakuriver", "kohakuriver-proxy"] {
        expected.insert(format!("bin/{program}.exe").into());
        expected.insert(format!("completions/{program}.ps1").into());
        let script = fs::read_to_string(folder.join(format!("completions/{program}.ps1"))).unwrap();
        assert!(script.contains(&format!("Register-ArgumentCompleter -Native -CommandName {program} ")), "{script}");
    }
    assert_eq!(names(&folder), expected);
}

#[test]
fn the_archive_for_macos_holds_what_linux_has_but_for_its_services() {
    let home = Home::new();
    let folder = unpacked("aarch64-apple-darwin", &home);
    let mut expected = names(&unpacked(&format!("{ARCH}-unknown-linux-gnu"), &home));
    let everything = expected.len();
    expected.retain(|name| !name.starts_with("etc") && !name.starts_with("lib"));
    assert_eq!(names(&folder), expected);
    // A service, two sockets, and two files of configuration.
    assert_eq!(everything - expected.len(), 5);
}

#[test]
fn two_runs_give_equal_bytes() {
    let home = Home::new();
    let again = home.join("again");
    made();
    // Somebody else's machine, and another day.
    make(&again, |run| run.env("TZ", "Pacific/Marquesas").env("LC_ALL", "C.UTF-8").env("TMPDIR", home.path()));
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    assert_eq!(sums(made()), sums(&again));
    let names: Vec<_> = sums(&again).lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect();
    let mut made: Vec<_> =
        fs::read_dir(&again).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    made.retain(|name| name != "SHA256SUMS");
    made.sort();
    assert_eq!(names, made);
    assert!(made.len() >= 7, "{made:?}");
    let check = Run::new(tool("sh"), &home).args(["-c", "cd again && sha256sum --check --quiet SHA256SUMS"]);
    check.output().succeeds();
}

#[test]
fn an_archive_is_whole() {
    let home = Home::new();
    let root = unpacked(&format!("{ARCH}-unknown-linux-gnu"), &home);
    check_programs(&root.join("bin"), &home);
    check_documents(&root.join(DOCUMENTS));
    for name in [
        "LICENSE",
        "etc/default/kohakuriver-gateway",
        "lib/systemd/system/kohakuriver-gateway.service",
        "share/bash-completion/completions/kohakuriver",
        "share/bash-completion/completions/kohakuriver-gateway",
        "share/fish/vendor_completions.d/kohakuriver.fish",
        "share/fish/vendor_completions.d/kohakuriver-proxy.fish",
        "share/man/man1/kohakuriver-proxy.1.gz",
        "share/man/man1/kohakuriver-vps-create.1.gz",
        "share/man/man8/kohakuriver-gateway.8.gz",
        "share/zsh/site-functions/_kohakuriver",
        "share/zsh/site-functions/_kohakuriver-gateway",
    ] {
        assert!(root.join(name).is_file(), "no {name}");
    }
}

#[test]
fn the_rpm_installs_all_there_is() {
    let home = Home::new();
    let package = artifact(&format!("{ARCH}.rpm"));
    let rpm = |words: &[&str]| Run::new(tool("rpm"), &home).args(words).arg(&package).output();
    let requires = rpm(&["-qp", "--requires"]).succeeds().text();
    assert!(requires.contains("libc.so.6(GLIBC_2.") && requires.contains("openssh-clients"), "{requires}");
    assert_eq!(rpm(&["-qp", "--qf", "%{VERSION} %{LICENSE}"]).succeeds().text(), format!("{VERSION} MIT"));
    let scripts = rpm(&["-qp", "--scripts"]).succeeds().text();
    assert!(scripts.contains("systemctl daemon-reload") && !scripts.contains("start "), "{scripts}");
    let configured = rpm(&["-qp", "--configfiles"]).succeeds().text();
    assert_eq!(configured, "/etc/default/kohakuriver-gateway\n/etc/logrotate.d/kohakuriver-gateway\n");

    // A file with the time of somebody's checkout would make the package another one there.
    let times: HashSet<_> =
        rpm(&["-qp", "--qf", "[%{FILEMTIMES}\n]"]).succeeds().text().lines().map(str::to_owned).collect();
    assert_eq!(times.len(), 1, "{times:?}");

    let unpack = Run::new(tool("sh"), &home).args(["-c", "rpm2cpio \"$1\" | cpio -idm --quiet", "sh"]).arg(&package);
    unpack.output().succeeds();
    check_programs(&home.join("usr/bin"), &home);
    check_documents(&home.join("usr").join(DOCUMENTS));
    let unit = fs::read_to_string(home.join("usr/lib/systemd/system/kohakuriver-gateway.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/kohakuriver-gateway "), "{unit}");
}

/// With the rpm of Debian, in a folder with a shell.
#[test]
fn the_rpm_installs_and_goes() {
    let Some(debian) = Debian::new() else { return };
    let package = artifact(&format!("{ARCH}.rpm"));
    let rpm = |words: &[&str]| {
        let run = Run::new(tool("rpm"), &debian.home).arg("--force-debian").arg("--root").arg(&debian.root);
        run.args(words).deadline(300)
    };
    rpm(&["--nodeps", "-i"]).arg(&package).output().succeeds();
    let said = debian.said();
    assert!(said.iter().any(|line| line.ends_with("daemon-reload")) && !told_to_start(&said), "{said:?}");
    for program in PROGRAMS {
        debian.run(&[program, "--version"]).output().succeeds().prints(&format!("{program} {VERSION}\n"));
    }
    rpm(&["-V", "--nodeps", "kohakuriver-proxy"]).output().succeeds().prints_nothing();
    rpm(&["-e", "kohakuriver-proxy"]).output().succeeds();
    let said = debian.said();
    assert!(said.iter().any(|line| line.starts_with("disable --now kohakuriver-gateway.service")), "{said:?}");
    assert_eq!(debian.ours(), [""; 0]);
}

#[test]
fn the_image_holds_the_gateway_alone() {
    let home = Home::new();
    let image = artifact(&format!("{}.oci.tar", architecture()));
    let inspect = Run::new(tool("skopeo"), &home).args(["inspect", "--config"]);
    // By the name that podman gives the image.
    let name = format!("kohakuriver-gateway:{VERSION}");
    let inspect = inspect.arg(format!("oci-archive:{}:{name}", image.display())).output();
    let config: Value = serde_json::from_str(&inspect.succeeds().text()).unwrap();
    assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &architecture().into()), "{config}");
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/kohakuriver-gateway"]), "{config}");
    assert_eq!(config["config"]["User"], "65534:65534", "{config}");

    let rootfs = root_of(&image, &home);
    let list = Run::new(tool("find"), &home).arg(&rootfs).args(["-type", "f"]).output();
    list.succeeds().prints(&format!("{}\n", rootfs.join("usr/bin/kohakuriver-gateway").display()));
    let packed = unpacked(&format!("{ARCH}-unknown-linux-musl"), &home).join("bin/kohakuriver-gateway");
    assert_eq!(sha256(&rootfs.join("usr/bin/kohakuriver-gateway")), sha256(&packed));
}

/// The root of the container that an image makes.
fn root_of(image: &Path, home: &Home) -> PathBuf {
    fs::create_dir(home.join("layout")).unwrap();
    Run::new(tool("tar"), home).arg("-xf").arg(image).args(["-C", "layout"]).output().succeeds();
    let unpack = Run::new(tool("umoci"), home).args(["unpack", "--rootless", "--image"]);
    unpack.arg(format!("layout:kohakuriver-gateway:{VERSION}")).arg("bundle").output().succeeds();
    home.join("bundle/rootfs")
}

/// The image's gateway, and the helper alone, with nothing beside them.
#[test]
fn static_programs_carry_a_tunnel_where_there_is_nothing_else() {
    carry_a_tunnel(architecture(), &archive("musl"));
}

/// As the one above, with the programs of a release for that processor.
#[test]
fn for_arm64_static_programs_carry_a_tunnel() {
    if arm64_runs("static programs") {
        carry_a_tunnel("arm64", &format!("kohakuriver-proxy-{VERSION}-aarch64-unknown-linux-musl"));
    }
}

fn carry_a_tunnel(architecture: &str, helper: &str) {
    let home = Home::new();
    let rootfs = root_of(&artifact(&format!("{architecture}.oci.tar")), &home);
    let segments = Run::new(tool("readelf"), &home).args(["-lW", "bundle/rootfs/usr/bin/kohakuriver-gateway"]).output();
    if segments.succeeds().text().contains("INTERP") || !rustix::process::geteuid().is_root() {
        return not_tested(
            "static programs, as RELEASE_ARTIFACTS names no release with them, or this user is not root",
        );
    }
    // As a container's user; the path to it stays this user's alone.
    let inside = |words: &[&str]| {
        let run = Run::new(tool("chroot"), &home).arg("--userspec=65534:65534").arg(&rootfs).args(words);
        run.deadline(120)
    };
    let vps = echo_server();
    home.write("bundle/rootfs/inventory.json", inventory(&[running(ID, vps.address.port())]).to_string());
    home.copy(&artifact(helper), "bundle/rootfs/helper");
    set_mode(&rootfs, 0o755);
    let gateway = inside(&["/usr/bin/kohakuriver-gateway", "--inventory", "/inventory.json", "--admin", "off"]);
    let gateway = gateway.args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]).start();
    let address = gateway.stderr_line("listening on ");
    let helper = inside(&["/helper", "--proxy", &address, ID]).stdin("SSH-2.0-test\r\n").output();
    helper.succeeds().prints("SSH-2.0-test\r\n");
}

/// The release's own `install.sh`, with its archive on a web server.
#[test]
fn the_installer_installs_the_archive() {
    let home = Home::new();
    let (_server, url) = web_server(&artifacts(), &home);
    let Ok(script) = fs::read_to_string(artifacts().join("install.sh")) else {
        return not_tested("install.sh, as this release was made without --url");
    };
    assert!(script.contains("/install.sh | sh\n") && !script.contains('@'), "{script}");
    let run = Run::new(tool("dash"), &home).env("KOHAKURIVER_URL", url).stdin(script);
    let installed = home.join(".local/bin/kohakuriver");
    run.output().succeeds().says(&[&format!("next: {} login HOST\n", installed.display())]);
    check_programs(&home.join(".local/bin"), &home);
    assert!(home.join(".local/share/man/man1/kohakuriver-proxy.1.gz").is_file());
}

#[test]
fn the_bill_of_materials_names_the_crates_and_no_folder() {
    let text = fs::read_to_string(artifact(".cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = bill["components"].as_array().unwrap().iter().map(|part| &part["name"]).collect();
    assert!(names.len() > 50 && names.contains(&&"rustls".into()), "{names:?}");
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{text}");
}

#[test]
fn programs_that_are_not_there_make_no_release() {
    let home = Home::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/release.sh");
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let run = Run::new(script, &home).first_on_path(cargo);
    let run = run.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    home.write("out/SHA256SUMS", "the last release");
    let run = run.args(["--programs", "."]).arg("--output").arg(home.join("out")).output();
    run.exits(1).says(&["there is no folder "]);
    assert_eq!(files(&home.join("out")), [home.join("out/SHA256SUMS")]);
}
