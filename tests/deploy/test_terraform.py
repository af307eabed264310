"""The Terraform module is valid and passes its own tests, before a provider that only makes believe."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from opendify.settings import SETTINGS
from tests.fakes.programs import PROJECT

MODULE: Final = PROJECT / "deploy/terraform/aws"
PROVIDER: Final = "registry.terraform.io/hashicorp/aws"
# Where mirrors of providers are put; the last ones are those in which Terraform looks by itself.
MIRRORS: Final = (
    *Path("/opt").glob("*plugins*"),
    Path("/usr/local/share/terraform/plugins"),
    Path.home() / ".terraform.d/plugins",
)

needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


class Terraform:
    """Runs in a copy of the module, since `init` writes beside it."""

    def __init__(self, folder: Path, mirror: Path) -> None:
        shutil.copytree(MODULE, folder / "module", ignore=shutil.ignore_patterns(".terraform*"))
        self._folder = folder / "module"
        configuration = folder / "terraformrc"
        configuration.write_text(
            f'provider_installation {{\n  filesystem_mirror {{ path = "{mirror}" }}\n}}\n'
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(configuration),
            "CHECKPOINT_DISABLE": "1",
        }

    def run(self, *arguments: str) -> str:
        """What it says, when it ends well."""
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def terraform(tmp_path: Path) -> Terraform:
    mirror = next((each for each in MIRRORS if (each / PROVIDER).is_dir()), None)
    if mirror is None:
        pytest.skip(f"there is no mirror with {PROVIDER}")
    return Terraform(tmp_path, mirror)


@needs_terraform
def test_the_module_is_written_as_terraform_writes() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", MODULE], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.returncode) == ("", 0)


@needs_terraform
def test_the_module_passes_its_own_tests(terraform: Terraform) -> None:
    terraform.run("init", "-backend=false", "-no-color")

    assert ", 0 failed." in terraform.run("test", "-no-color")


def test_every_variable_that_the_module_sets_is_a_setting() -> None:
    (block,) = re.findall(
        r"settings = merge\(\n    \{\n(.*?)\n    \}", (MODULE / "service.tf").read_text(), re.DOTALL
    )
    named = set(re.findall(r"^ +([A-Z_]+) +=", block, re.MULTILINE))

    assert len(named) == 9
    assert named <= {variable for setting in SETTINGS for variable in setting.variables}


def test_the_example_gives_what_the_module_needs() -> None:
    variables = re.split(r'^variable "', (MODULE / "variables.tf").read_text(), flags=re.MULTILINE)[1:]
    names = {each.partition('"')[0] for each in variables}
    needed = {each.partition('"')[0] for each in variables if "\n  default " not in each}
    (example,) = re.findall(r"```hcl\n(.*?)```", (PROJECT / "docs/deployment.md").read_text(), re.DOTALL)
    given = set(re.findall(r"^  ([a-z_]+) +=", example, re.MULTILINE)) - {"source"}

    assert needed <= given <= names
