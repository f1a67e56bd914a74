/* What becomes of a job whose waiters come, hear and go in any order. With SANITIZE=address each
 * test also says that the job was freed once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db/mysql_jobs.h"

static const struct mysql_table table; /* only its address counts */
static const struct finding found = {.answer = FOUND, .value = "alice"};

static struct mysql_job *add_running(struct mysql_jobs *jobs)
{
    struct mysql_job *job = mysql_jobs_add(jobs, &table, "alice@example.test", deadline_in_ms(0));
    assert_non_null(job);
    assert_ptr_equal(mysql_jobs_next(jobs), job);
    return job;
}

static void who_waits_is_told(void **state)
{
    (void)state;
    struct mysql_jobs jobs = {0};
    struct mysql_job *job = add_running(&jobs);
    assert_false(mysql_job_wait(job, deadline_in_ms(0)));
    mysql_jobs_finish(&jobs, job, &found, "note");
    mysql_job_tell(job);
    assert_true(mysql_job_wait(job, deadline_in_ms(10000)));
    assert_int_equal(job->finding.answer, FOUND);
    assert_string_equal(job->notes, "note");
    mysql_jobs_leave(&jobs, job);
    assert_null(jobs.first);
}

/* Between the two steps of the worker the deadline passes: the answer is there all the same. */
static void a_finding_not_told_yet_is_not_lost(void **state)
{
    (void)state;
    struct mysql_jobs jobs = {0};
    struct mysql_job *job = add_running(&jobs);
    mysql_jobs_finish(&jobs, job, &found, "");
    assert_false(mysql_job_wait(job, deadline_in_ms(0)));
    assert_int_equal(job->state, JOB_DONE);
    assert_int_equal(job->finding.answer, FOUND);
    mysql_jobs_leave(&jobs, job); /* the teller still has it */
    mysql_job_tell(job);
}

static void who_left_before_the_end_is_not_waited_for(void **state)
{
    (void)state;
    struct mysql_jobs jobs = {0};
    struct mysql_job *job = add_running(&jobs);
    assert_ptr_equal(mysql_jobs_join(&jobs, &table, job->key, deadline_in_ms(0)), job);
    mysql_jobs_leave(&jobs, job);
    assert_true(mysql_jobs_use(&jobs, &table));
    mysql_jobs_finish(&jobs, job, &found, "");
    mysql_job_tell(job);
    assert_true(mysql_job_wait(job, deadline_in_ms(10000)));
    mysql_jobs_leave(&jobs, job);
}

static void a_job_all_have_left_ends_with_the_telling(void **state)
{
    (void)state;
    struct mysql_jobs jobs = {0};
    struct mysql_job *job = add_running(&jobs);
    mysql_jobs_leave(&jobs, job);
    mysql_jobs_finish(&jobs, job, &found, "");
    assert_null(jobs.first);
    mysql_job_tell(job);
}

/* Who asks after the end asks anew: that answer may be another. */
static void a_job_that_is_done_is_not_joined(void **state)
{
    (void)state;
    struct mysql_jobs jobs = {0};
    struct mysql_job *job = add_running(&jobs);
    mysql_jobs_finish(&jobs, job, &found, "");
    assert_null(mysql_jobs_join(&jobs, &table, job->key, deadline_in_ms(0)));
    mysql_job_tell(job);
    mysql_jobs_leave(&jobs, job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_is_told),
        cmocka_unit_test(a_finding_not_told_yet_is_not_lost),
        cmocka_unit_test(who_left_before_the_end_is_not_waited_for),
        cmocka_unit_test(a_job_all_have_left_ends_with_the_telling),
        cmocka_unit_test(a_job_that_is_done_is_not_joined),
    };
    return cmocka_run_group_tests_name("mysql_jobs", tests, NULL, NULL);
}
