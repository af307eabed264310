"""The real nginx with the configuration that the project ships, on free ports."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.fakes.programs import PROJECT
from tests.fakes.waiting import wait_until
from tests.stores.servers import free_port

SITE: Final = PROJECT / "deploy/nginx/opendify.conf"
# Debian has it where only root looks.
NGINX: Final = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_AROUND: Final = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
{temporary}
    access_log off;
    include {site};
}}
"""


def write_configuration(folder: Path, site: str) -> Path:
    """`site` as nginx includes it, with everything that nginx writes in `folder`."""
    (folder / "site.conf").write_text(site)
    temporary = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in _TEMPORARY)
    whole = folder / "nginx.conf"
    whole.write_text(_AROUND.format(folder=folder, temporary=temporary, site=folder / "site.conf"))
    return whole


def check(configuration: Path) -> subprocess.CompletedProcess[str]:
    """`nginx -t`."""
    return subprocess.run(
        [str(NGINX), "-t", "-p", configuration.parent, "-c", configuration],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def site_for(ports: Sequence[int], listen: int) -> str:
    """The shipped file, which differs in nothing but the addresses."""
    server = re.compile(r"    server 127\.0\.0\.1:\d+(?P<options>.*;\n)")
    site = SITE.read_text(encoding="utf-8")
    options = [found["options"] for found in server.finditer(site)]
    instances = "".join(
        f"    server 127.0.0.1:{port}{option}" for port, option in zip(ports, options, strict=False)
    )
    site = server.sub("", site).replace("    zone ", f"{instances}    zone ")
    return site.replace("listen 80;", f"listen 127.0.0.1:{listen};")


@contextmanager
def running_nginx(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """The port that it listens on, before instances on `ports`."""
    listen = free_port()
    configuration = write_configuration(folder, site_for(ports, listen))
    with subprocess.Popen(
        [str(NGINX), "-p", folder, "-c", configuration], stderr=subprocess.DEVNULL
    ) as nginx:
        try:
            assert wait_until(lambda: (folder / "pid").exists(), 10), (folder / "error.log").read_text()
            yield listen
        finally:
            nginx.terminate()
