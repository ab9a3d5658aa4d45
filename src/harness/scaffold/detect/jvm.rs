//! `pom.xml` and `build.gradle`: frameworks that say themselves where their program is and how it is
//! told its port.

use crate::harness::scaffold::facts::Service;
use crate::harness::scaffold::tree::Tree;

pub(super) fn service(tree: &Tree) -> Option<Service> {
    if let Some(text) = tree.text("pom.xml") {
        let maven = match tree.has("mvnw") {
            true => "./mvnw",
            false => "mvn",
        };
        let build = format!("{maven} -q -DskipTests clean package");
        return of_framework(text, "pom.xml", build, "target", "target/quarkus-app");
    }
    let file = tree.first(&["build.gradle", "build.gradle.kts"])?;
    let text = tree.text(file)?;
    let gradle = match tree.has("gradlew") {
        true => "./gradlew",
        false => "gradle",
    };
    // Spring's own task makes one archive; `build` would make another beside it that starts nothing.
    let task = match text.contains("org.springframework.boot") {
        true => "clean bootJar",
        false => "clean build -x test",
    };
    let build = format!("{gradle} -q {task}");
    of_framework(text, file, build, "build/libs", "build/quarkus-app")
}

fn of_framework(
    text: &str,
    file: &str,
    build: String,
    archives: &str,
    quarkus: &str,
) -> Option<Service> {
    let start = match () {
        () if text.contains("spring-boot") || text.contains("org.springframework.boot") => {
            format!("sh -c 'exec java -jar {archives}/*.jar --server.port={{port}}'")
        }
        () if text.contains("quarkus") => {
            format!(
                "java -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port={{port}} -jar {quarkus}/quarkus-run.jar"
            )
        }
        () if text.contains("micronaut") => {
            format!("sh -c 'exec java -Dmicronaut.server.port={{port}} -jar {archives}/*.jar'")
        }
        () => return None,
    };
    let mut service = Service::told(start, file, Some(build));
    if text.contains("spring-boot-starter-actuator") {
        service.ready = Some("/actuator/health".to_owned());
    } else if text.contains("quarkus-smallrye-health") {
        service.ready = Some("/q/health/ready".to_owned());
    }
    Some(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], expected: Option<(&str, &str, Option<&str>)>) {
        let tree: Tree = files.iter().copied().collect();
        let found = service(&tree);
        let found = found.as_ref().map(|service| {
            let build = service.build.as_deref().unwrap_or_default();
            (
                build,
                service.start.value.as_str(),
                service.ready.as_deref(),
            )
        });
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn frameworks_are_told_their_port() {
        let spring = "<artifactId>spring-boot-starter-web</artifactId><artifactId>spring-boot-starter-actuator</artifactId>";
        check(
            &[("pom.xml", spring), ("mvnw", "")],
            Some((
                "./mvnw -q -DskipTests clean package",
                "sh -c 'exec java -jar target/*.jar --server.port={port}'",
                Some("/actuator/health"),
            )),
        );
        check(
            &[
                (
                    "build.gradle.kts",
                    "plugins { id(\"org.springframework.boot\") version \"3.4.0\" }",
                ),
                ("gradlew", ""),
            ],
            Some((
                "./gradlew -q clean bootJar",
                "sh -c 'exec java -jar build/libs/*.jar --server.port={port}'",
                None,
            )),
        );
        check(
            &[("pom.xml", "<groupId>io.quarkus</groupId>")],
            Some((
                "mvn -q -DskipTests clean package",
                "java -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port={port} -jar target/quarkus-app/quarkus-run.jar",
                None,
            )),
        );
        check(&[("pom.xml", "<project/>")], None);
        check(&[], None);
    }
}
