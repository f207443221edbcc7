"""Compile the log stores, of folders and of S3 (spark_jobs/storage/*.java), into a jar.

Usage: log_store.py JAVA_HOME TARGET

By Janino, the compiler that Spark brings along, so that a Java without its compiler is enough. The
same sources give the same bytes; a jar of these sources is left as it is.
"""

import hashlib
import os
import sys
import zipfile
from pathlib import Path

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

SOURCES = sorted((Path(__file__).resolve().parents[1] / "spark_jobs" / "storage").glob("*.java"))
MADE_OF = "source.sha256"  # beside the classes


def compiled(java_home: str, sources: list[str]) -> dict[str, bytes]:
    """Bytecode by the name of its class."""
    port, token = launch_gateway(
        classpath=str(Path(pyspark.__file__).parent / "jars" / "*"),
        javaopts=["-XX:TieredStopAtLevel=1"],
        java_path=f"{java_home}/bin/java",
        die_on_exit=True,
        enable_auth=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
    try:
        classes = {}
        for source in sources:
            compiler = gateway.jvm.org.codehaus.janino.SimpleCompiler()
            compiler.cook(source)
            found = compiler.getBytecodes()
            classes |= {name: bytes(found[name]) for name in found}
        return classes
    finally:
        gateway.shutdown()


def is_of(jar: Path, digest: str) -> bool:
    """Whether a jar is there and was made of the sources with this digest."""
    if not jar.exists():
        return False
    with zipfile.ZipFile(jar) as content:
        return MADE_OF in content.namelist() and content.read(MADE_OF).decode() == digest


def main(java_home: str, jar: Path) -> None:
    """Compile unless it is done."""
    sources = [file.read_text(encoding="utf-8") for file in SOURCES]
    digest = hashlib.sha256("".join(sources).encode()).hexdigest()
    if is_of(jar, digest):
        return
    classes = compiled(java_home, sources)
    part = jar.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for name, code in sorted(classes.items()):
            out.writestr(zipfile.ZipInfo(f"{name.replace('.', '/')}.class"), code)
        out.writestr(zipfile.ZipInfo(MADE_OF), digest)
    os.replace(part, jar)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
