//! The files of the crate, and which file uses which.

use std::collections::{BTreeMap, BTreeSet};

use crate::tokens::{Token, end_of_group, is, production};

/// A module's path, without `crate`.
pub(crate) type Path = Vec<String>;

/// Most re-exports that lead from one name to its item.
const LONGEST_CHAIN: usize = 10;

/// All files of `src` that aren't for tests alone.
pub(crate) struct Tree {
    /// The tokens of each file.
    pub(crate) files: BTreeMap<String, Vec<Token>>,
    modules: BTreeMap<Path, Module>,
}

struct Module {
    file: String,
    /// The meaning of each imported name.
    imports: BTreeMap<String, Import>,
}

#[derive(Clone)]
struct Import {
    path: Path,
    is_public: bool,
}

impl Tree {
    /// The tree of these files: the path below `src`, and the text.
    pub(crate) fn new(sources: &BTreeMap<String, String>) -> Self {
        let mut files: BTreeMap<String, Vec<Token>> =
            sources.iter().map(|(file, source)| (file.clone(), production(source))).collect();
        let declared: BTreeSet<Path> = files.iter().flat_map(|(file, tokens)| declared(file, tokens)).collect();
        files.retain(|file, _| {
            let path = module(file);
            file == "lib.rs" || file.starts_with("bin/") || (1..=path.len()).all(|to| declared.contains(&path[..to]))
        });
        let modules = files.keys().map(|file| (module(file), Module { file: file.clone(), imports: BTreeMap::new() }));
        let mut tree = Self { modules: modules.collect(), files };
        let imports: Vec<_> =
            tree.files.iter().map(|(file, tokens)| (module(file), tree.imports(file, tokens))).collect();
        for (path, imports) in imports {
            tree.modules.get_mut(&path).unwrap().imports = imports;
        }
        tree
    }

    /// For each file the files that it uses.
    pub(crate) fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        self.files.iter().map(|(file, tokens)| (file.as_str(), self.used_by(file, tokens))).collect()
    }

    fn used_by(&self, file: &str, tokens: &[Token]) -> BTreeSet<&str> {
        let own = module(file);
        let imports = &self.modules[&own].imports;
        // A re-export of a child is no use: its users depend on the child.
        let imported = imports.values().filter(|import| !(import.is_public && import.path.starts_with(&own)));
        let imported = imported.filter_map(|import| self.item(&import.path, 0));
        let inline = inline_paths(tokens).into_iter().filter_map(|path| {
            let absolute = match imports.get(&path[0]) {
                Some(import) if !self.is_module(&import.path) => return None,
                Some(import) => [&import.path[..], &path[1..]].concat(),
                None => self.absolute(&own, &path)?,
            };
            self.item(&absolute, 0)
        });
        imported.chain(inline).filter(|used| *used != file).collect()
    }

    /// The file that defines the item at `path`; `None` for a module.
    fn item(&self, path: &[String], depth: usize) -> Option<&str> {
        let length = (0..=path.len()).rev().find(|length| self.is_module(&path[..*length]))?;
        let module = &self.modules[&path[..length]];
        let name = path.get(length)?;
        match module.imports.get(name) {
            Some(import) if import.is_public && depth < LONGEST_CHAIN => {
                self.item(&[&import.path[..], &path[length + 1..]].concat(), depth + 1)
            }
            _ => Some(&module.file),
        }
    }

    fn is_module(&self, path: &[String]) -> bool {
        self.modules.contains_key(path)
    }

    /// The path from the root of the crate, if it is one of this crate.
    fn absolute(&self, own: &[String], path: &[String]) -> Option<Path> {
        match path[0].as_str() {
            "crate" | "kohakuriver_proxy" => Some(path[1..].to_vec()),
            "self" => Some([own, &path[1..]].concat()),
            "super" => {
                let supers = path.iter().take_while(|segment| *segment == "super").count();
                Some([&own[..own.len().checked_sub(supers)?], &path[supers..]].concat())
            }
            child => self.is_module(&[own, &[child.to_owned()]].concat()).then(|| [own, path].concat()),
        }
    }

    fn imports(&self, file: &str, tokens: &[Token]) -> BTreeMap<String, Import> {
        let own = module(file);
        let mut imports = BTreeMap::new();
        for start in (0..tokens.len()).filter(|&index| is(tokens, index, &["use"])) {
            let is_public = start > 0 && (tokens[start - 1].text == "pub" || is_behind_visibility(tokens, start));
            let mut paths = Vec::new();
            let tree: Vec<_> = tokens[start + 1..].iter().take_while(|token| token.text != ";").cloned().collect();
            expand(&tree, &[], &mut paths);
            for (name, path) in paths {
                if let Some(path) = self.absolute(&own, &path) {
                    imports.insert(name, Import { path, is_public });
                }
            }
        }
        imports
    }
}

/// The modules that a file declares.
fn declared(file: &str, tokens: &[Token]) -> Vec<Path> {
    let starts = (0..tokens.len()).filter(|&index| is(tokens, index, &["mod"]) && is(tokens, index + 2, &[";"]));
    starts.map(|index| [&module(file)[..], &[tokens[index + 1].text.clone()]].concat()).collect()
}

/// The path of the module in `file`. A program is a crate of its own.
pub(crate) fn module(file: &str) -> Path {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn is_behind_visibility(tokens: &[Token], start: usize) -> bool {
    let open = tokens[..start].iter().rposition(|token| token.text == "(");
    open.is_some_and(|open| open > 0 && tokens[open - 1].text == "pub" && end_of_group(tokens, open) == start)
}

/// Every name of a `use` tree, with its path.
fn expand(tree: &[Token], before: &[String], paths: &mut Vec<(String, Path)>) {
    let mut path = before.to_vec();
    for (index, token) in tree.iter().enumerate() {
        match token.text.as_str() {
            "::" => {}
            "{" => {
                let inner = &tree[index + 1..end_of_group(tree, index) - 1];
                for part in split(inner) {
                    expand(part, &path, paths);
                }
                return;
            }
            "as" => {
                let name = tree.get(index + 1).map_or("_", |name| name.text.as_str());
                paths.push((if name == "_" { format!("_ {}", path.join("::")) } else { name.to_owned() }, path));
                return;
            }
            "self" if !path.is_empty() => {}
            // The names are unknown, so the module itself is what is used.
            "*" => path.push("*".to_owned()),
            segment => path.push(segment.to_owned()),
        }
    }
    if let Some(name) = path.last() {
        paths.push((if name == "*" { path.join("::") } else { name.clone() }, path));
    }
}

/// The parts of a group between its commas.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut start, mut index) = (Vec::new(), 0, 0);
    while index < tokens.len() {
        match tokens[index].text.as_str() {
            "{" => index = end_of_group(tokens, index),
            "," => {
                parts.push(&tokens[start..index]);
                index += 1;
                start = index;
            }
            _ => index += 1,
        }
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// Every path with at least two segments outside of `use`.
fn inline_paths(tokens: &[Token]) -> Vec<Path> {
    let (mut paths, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        if is(tokens, index, &["use"]) {
            while index < tokens.len() && tokens[index].text != ";" {
                index += 1;
            }
        } else if is_word(&tokens[index]) && is(tokens, index + 1, &["::"]) {
            let mut path = vec![tokens[index].text.clone()];
            while is(tokens, index + 1, &["::"]) && tokens.get(index + 2).is_some_and(is_word) {
                path.push(tokens[index + 2].text.clone());
                index += 2;
            }
            if path.len() > 1 {
                paths.push(path);
            }
        }
        index += 1;
    }
    paths
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
