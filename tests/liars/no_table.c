/* A shared object that is no plug-in. */
__attribute__((visibility("default"))) int not_an_index(void);
int not_an_index(void)
{
	return 1;
}
