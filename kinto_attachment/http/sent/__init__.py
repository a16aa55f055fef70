"""What goes out: files, whole or in ranges, by this server or by another one."""
