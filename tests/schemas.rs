//! The schemas that the repository holds are those that the program prints.

mod support;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;

use support::files;
use support::project::Project;

#[test]
fn every_schema_in_the_repository_is_the_one_that_is_printed() -> Result<(), Box<dyn Error>> {
    let project = Project::new()?;
    let (_, _, refused) = project.output(&["schema", "nothing"], 2)?;
    let names = refused
        .split_once("[possible values: ")
        .and_then(|(_, rest)| rest.split_once(']'))
        .ok_or("no names")?;
    let names: BTreeSet<String> = names.0.split(", ").map(str::to_owned).collect();
    let folder = files::repository("docs/schema");
    let mut committed = BTreeSet::new();
    for file in files::below(&folder, "json")? {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.and_then(|name| name.strip_suffix(".schema.json"));
        committed.insert(name.ok_or("another file")?.to_owned());
    }
    assert_eq!(committed, names);
    for name in names {
        let (_, printed, _) = project.output(&["schema", &name], 0)?;
        let file = format!("docs/schema/{name}.schema.json");
        assert!(
            fs::read_to_string(files::repository(&file))? == printed,
            "the format has changed: plimsoll schema {name} > {file}"
        );
    }
    Ok(())
}
