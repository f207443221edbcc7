#!/usr/bin/env bash
# Prints the home of a Java that Spark 4.1 runs on: one that is here, or one that apt installs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Prints the home of the given java if it is of a version that Spark 4.1 is tested on and holds
# the module that Spark asks for at start (cut-down Javas lack it); else prints nothing.
home_if_usable() {
    local properties
    properties=$("$1" --add-modules=jdk.incubator.vector -XshowSettings:properties -version 2>&1) ||
        return 0
    grep -Eq '^ *java\.specification\.version = (17|21)$' <<<"$properties" || return 0
    sed -n 's/^ *java\.home = //p' <<<"$properties"
}

find_java() {
    local java home
    for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" java /usr/lib/jvm/*/bin/java; do
        home=$(home_if_usable "${java:-java}")
        if [[ -n "$home" ]]; then
            printf '%s\n' "$home"
            return
        fi
    done
}

install_java() {
    local package
    apt-get update -qq >&2
    for package in openjdk-17-jre-headless openjdk-21-jre-headless; do
        if [[ -n "$(apt-cache madison "$package" 2>/dev/null)" ]]; then
            say "installing $package"
            DEBIAN_FRONTEND=noninteractive \
                apt-get install -qq -y --no-install-recommends "$package" >&2
            return
        fi
    done
}

home=$(find_java)
if [[ -z "$home" && $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    install_java
    home=$(find_java)
fi
[[ -n "$home" ]] ||
    die "found no Java 17 or 21 (looked at JAVA_HOME, at PATH and in /usr/lib/jvm)." \
        "Install one and run again, on Debian or Ubuntu: sudo apt-get install openjdk-17-jre-headless"
printf '%s\n' "$home"
