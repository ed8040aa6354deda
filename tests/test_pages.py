"""The commands of the README run as they stand there: from the wheel, without a checkout; and how they are taken from a page."""

from pathlib import Path

import pytest
from installed import build_wheel, environment, whole_environment
from pages import Block, blocks, run, run_page

README = Path(__file__).parent.parent / "README.md"
PAGE = """
Text with `spnas predict net.json --table pixel1`, `spnas data FOLDER --json` and `spnas search`.

<!-- ci: skip, needs a phone -->
<!-- ci: profile --rounds 2; train --epochs 1 --seed 3 -->

```sh
spnas devices
```

```yaml
spnas: no command
```

- In a list:

  <!-- ci: before: mkdir photos -->
  ```sh
  for seed in 0 1; do
      spnas train --seed $seed
  done
  ```

```console
$ spnas devices
host  ready
$ spnas table list
```

<!-- ci: train --epochs 2 -->
<!-- ci: same as other.md -->

    spnas evaluate run

    spnas export run
"""


def test_commands_of_a_page_are_found_in_order_with_what_its_comments_say():
    added = {"profile": "--rounds 2", "train": "--epochs 1 --seed 3"}
    assert list(blocks(PAGE)) == [
        Block(2, "spnas predict net.json --table pixel1"),
        Block(8, "spnas devices", skip="needs a phone", added=added),
        Block(19, "for seed in 0 1; do\n    spnas train --seed $seed\ndone", before="mkdir photos", added=added),
        Block(25, "spnas devices\nspnas table list", added=added),
        Block(33, "spnas evaluate run\n\nspnas export run", same_as="other.md", added=added | {"train": "--epochs 2"}),
    ]


def test_a_block_ends_at_its_first_command_that_fails_and_options_are_added(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "spnas").write_text('#!/bin/sh\necho "it got $*"\ntest "$1" != fail\n')
    (programs / "spnas").chmod(0o755)
    block = Block(
        1, "spnas train 'a b' --epochs 9\nspnas fail\nspnas never", before="mkdir here; cd here", added={"train": "--epochs 1"}
    )
    done = run(block, tmp_path, environment(programs, tmp_path))
    assert done.returncode != 0
    assert "it got train a b --epochs 9 --epochs 1" in done.stdout
    assert "never" not in done.stdout
    assert (tmp_path / "here").is_dir()


@pytest.mark.timeout(800)
def test_every_command_of_the_readme_runs(tmp_path):
    programs = whole_environment(tmp_path / "environment", build_wheel(tmp_path / "wheel"))
    (tmp_path / "user").mkdir()
    assert len(run_page(README, programs, tmp_path / "user")) >= 5
