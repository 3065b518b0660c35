typedef int cdpd_empty;
