def test_short_words_are_known() -> None:
    for words in (["list", "node"], ["w", "peer"], ["list", "namespace"]):
        assert CliRunner().invoke(cilia, ["hubble", *words, "--help"]).exit_code == 0
