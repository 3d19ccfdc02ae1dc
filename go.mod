module vserver

go 1.26
