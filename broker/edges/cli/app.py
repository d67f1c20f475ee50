"""How is a noun's set of verbs made? All of them look and fail alike."""

import typer


def noun(help_text: str, *, single: bool = False) -> typer.Typer:
    """The verbs of one noun. `single`: the noun is itself the verb (`broker serve`)."""
    app = typer.Typer(
        help=None if single else help_text,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=not single,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    if not single:

        @app.callback()
        def group() -> None:  # a noun with one verb is still a noun
            pass

        group.__doc__ = help_text
    return app
