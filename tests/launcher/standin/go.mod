module wukong.invalid/tests/launcher/standin

go 1.22
