//! The files of the crate, and which file uses which.

use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

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
    /// The names of its items.
    defined: BTreeSet<String>,
    /// The imported names, each with every meaning that it has in the file.
    imports: Vec<(String, Import)>,
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
        let modules = files.iter().map(|(file, tokens)| {
            (module(file), Module { file: file.clone(), defined: defined(tokens), imports: Vec::new() })
        });
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
        let outside = outside_imports(tokens);
        let words: BTreeSet<_> = outside.iter().map(|token| token.text.as_str()).collect();
        // A re-export of a child is no use, if that is all: its users depend on the child.
        let is_passed_on =
            |name: &str, import: &Import| import.is_public && import.path.starts_with(&own) && !words.contains(name);
        let imported = imports.iter().filter(|(name, import)| !is_passed_on(name, import));
        let imported = imported.map(|(_, import)| import.path.clone());
        let inline = inline_paths(tokens).into_iter().flat_map(|path| {
            let meanings: Vec<_> = imports.iter().filter(|(name, _)| *name == path[0]).collect();
            if meanings.is_empty() {
                return self.absolute(&own, &path).into_iter().collect();
            }
            let modules = meanings.into_iter().filter(|(_, import)| self.is_module(&import.path));
            modules.map(|(_, import)| [&import.path[..], &path[1..]].concat()).collect::<Vec<_>>()
        });
        imported.chain(inline).flat_map(|path| self.items(&path, 0)).filter(|used| *used != file).collect()
    }

    /// The files that define the item at `path`: several, if each operating system has its own. None for a module.
    fn items(&self, path: &[String], depth: usize) -> BTreeSet<&str> {
        let (module, Some((name, _))) = self.split(path) else { return BTreeSet::new() };
        let found = if module.defined.contains(name) { BTreeSet::new() } else { self.re_exported(path, depth) };
        if found.is_empty() { BTreeSet::from([module.file.as_str()]) } else { found }
    }

    /// The same, where a module re-exports the item by its name or with all others of a module.
    fn re_exported(&self, path: &[String], depth: usize) -> BTreeSet<&str> {
        let (module, Some((name, rest))) = self.split(path) else { return BTreeSet::new() };
        let public = module.imports.iter().filter(|(_, import)| import.is_public && depth < LONGEST_CHAIN);
        let found = public.map(|(own, import)| match import.path.split_last() {
            Some((last, module)) if last == "*" => {
                let path = [module, from_ref(name), rest].concat();
                let (module, _) = self.split(&path);
                if module.defined.contains(name) {
                    BTreeSet::from([module.file.as_str()])
                } else {
                    self.re_exported(&path, depth + 1)
                }
            }
            _ if own == name => self.items(&[&import.path[..], rest].concat(), depth + 1),
            _ => BTreeSet::new(),
        });
        found.flatten().collect()
    }

    /// The module that `path` leads to, then the name of an item in it and the rest.
    fn split<'p>(&self, path: &'p [String]) -> (&Module, Option<(&'p String, &'p [String])>) {
        let lengths = (0..=path.len()).rev();
        let (length, module) =
            lengths.filter_map(|length| Some((length, self.modules.get(&path[..length])?))).next().unwrap();
        (module, path[length..].split_first())
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

    fn imports(&self, file: &str, tokens: &[Token]) -> Vec<(String, Import)> {
        let own = module(file);
        let mut imports = Vec::new();
        for start in (0..tokens.len()).filter(|&index| is(tokens, index, &["use"])) {
            let is_public = start > 0 && (tokens[start - 1].text == "pub" || is_behind_visibility(tokens, start));
            let mut paths = Vec::new();
            let tree: Vec<_> = tokens[start + 1..].iter().take_while(|token| token.text != ";").cloned().collect();
            expand(&tree, &[], &mut paths);
            for (name, path) in paths {
                if let Some(path) = self.absolute(&own, &path) {
                    imports.push((name, Import { path, is_public }));
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

/// The names of the items in a file.
fn defined(tokens: &[Token]) -> BTreeSet<String> {
    const ITEMS: [&str; 9] = ["const", "enum", "fn", "macro_rules", "static", "struct", "trait", "type", "union"];
    let starts = (0..tokens.len()).filter(|&index| ITEMS.iter().any(|item| is(tokens, index, &[item])));
    let names = starts.map(|index| index + 1 + usize::from(is(tokens, index + 1, &["!"])));
    names.filter_map(|name| tokens.get(name)).map(|name| name.text.clone()).collect()
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

/// The tokens that belong to no `use`.
fn outside_imports(tokens: &[Token]) -> Vec<Token> {
    let mut is_import = false;
    let outside = tokens.iter().filter(|token| {
        is_import |= token.text == "use";
        let is_outside = !is_import;
        is_import &= token.text != ";";
        is_outside
    });
    outside.cloned().collect()
}

/// Every path with at least two segments outside of `use`.
fn inline_paths(tokens: &[Token]) -> Vec<Path> {
    let tokens = outside_imports(tokens);
    let (mut paths, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        if is_word(&tokens[index]) && is(&tokens, index + 1, &["::"]) {
            let mut path = vec![tokens[index].text.clone()];
            while is(&tokens, index + 1, &["::"]) && tokens.get(index + 2).is_some_and(is_word) {
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
