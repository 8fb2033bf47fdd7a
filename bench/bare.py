"""A Typer app with rich and one command: what `opsctl --help` is measured against."""

import typer

app = typer.Typer(rich_markup_mode="rich")


@app.command()
def hello(name: str = "you") -> None:
    """Say hello."""
    typer.echo(f"hello {name}")


@app.command()
def goodbye(name: str = "you") -> None:
    """Say goodbye."""
    typer.echo(f"goodbye {name}")


if __name__ == "__main__":
    app()
